#include "symbols/symbolizer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "symbols/demangle.h"
#include "symbols/limits.h"
#include "symbols/process_files.h"

namespace shoal::symbols {
namespace {

constexpr char kKernel[] = "[kernel]";
constexpr char kUnknown[] = "[unknown]";
constexpr char kRuntime[] = "[jit]";
/** A process that was not seen for so many rounds is forgotten. */
constexpr uint64_t kRoundsKept = 60;
constexpr size_t kReadAtOnce = 64 * 1024;

std::string baseName(std::string path) {
  static constexpr std::string_view kDeleted = " (deleted)";
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string hexadecimal(const std::string& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char each : bytes) {
    const auto value = static_cast<unsigned char>(each);
    text += kDigits[value >> 4];
    text += kDigits[value & 15];
  }
  return text;
}

/** Several names of one function differ by what the compiler made of it: `work.constprop.0` is still work. */
std::string withoutSuffix(std::string name) {
  for (const char* suffix : {".constprop.", ".isra.", ".part.", ".cold"}) {
    const size_t at = name.find(suffix);
    if (at != std::string::npos && at > 0) name.resize(at);
  }
  return name;
}

}  // namespace

void Symbolizer::beginRound() {
  round_ += 1;
  if (functions_.size() > kFunctionsMax) {
    processes_.clear();
    functions_.clear();
    numbers_.clear();
  }
  std::erase_if(processes_, [this](const auto& each) { return round_ - each.second.usedRound > kRoundsKept; });
  if (processes_.size() <= kProcessesMax) return;
  std::vector<std::pair<uint64_t, ProcessKey>> byUse;
  for (const auto& [key, each] : processes_) byUse.push_back({each.usedRound, key});
  std::sort(byUse.begin(), byUse.end());
  for (size_t i = 0; i + kProcessesMax < byUse.size(); i += 1) processes_.erase(byUse[i].second);
}

uint32_t Symbolizer::number(Function function) {
  const auto [place, fresh] = numbers_.try_emplace(std::move(function), static_cast<uint32_t>(functions_.size()));
  if (fresh) functions_.push_back(&place->first);
  return place->second;
}

void Symbolizer::resolveKernel(const unsigned long long* addresses, size_t count, std::vector<uint32_t>& into) {
  if (count > 0 && !kernel_) {
    kernel_ = KernelSymbols::parse(readText("/proc/kallsyms", kKernelSymbolsBytesMax));
  }
  for (size_t i = 0; i < count; i += 1) {
    const std::string_view name = kernel_->find(addresses[i] - (i > 0 ? 1 : 0));
    into.push_back(number({name.empty() ? kKernel : withoutSuffix(std::string(name)), kKernel}));
  }
}

void Symbolizer::resolveUser(const ProcessKey& key, const unsigned long long* addresses, size_t count,
                             std::vector<uint32_t>& into) {
  if (count == 0) return;
  Process& owner = process(key);
  for (size_t i = 0; i < count; i += 1) {
    // All but the leaf are where a call returns to, which may already be in the next function.
    into.push_back(resolve(key, owner, addresses[i] - (i > 0 ? 1 : 0)));
  }
}

Symbolizer::Process& Symbolizer::process(const ProcessKey& key) {
  Process& process = processes_[key];
  process.usedRound = round_;
  if (!process.read) {
    process.read = true;
    readMappings(key, process);
  }
  return process;
}

void Symbolizer::readMappings(const ProcessKey& key, Process& process) {
  process.mappingsRound = round_;
  if (!isProcess(key.pid, key.start)) return;
  std::vector<Mapping> mappings = parseMappings(readProcText(key.pid, "maps"));
  // What has ended since, or has another's pid now, keeps what was known of it.
  if (!mappings.empty() && isProcess(key.pid, key.start)) process.mappings = std::move(mappings);
}

const std::vector<Mapping>& Symbolizer::mappings(const ProcessKey& key, bool again) {
  Process& owner = process(key);
  if (again && owner.mappingsRound != round_) readMappings(key, owner);
  return owner.mappings;
}

std::optional<ElfFile> Symbolizer::elf(const ProcessKey& key, const Mapping& mapping) {
  const File* found = file(key, mapping);
  const auto known = found == nullptr ? files_.end() : files_.find(*found->used);
  if (known == files_.end() || !found->symbols) return std::nullopt;
  return ElfFile{known->first, *found->symbols, *found->source};
}

uint32_t Symbolizer::resolve(const ProcessKey& key, Process& process, uint64_t address) {
  const auto known = process.known.find(address);
  if (known != process.known.end()) return known->second;
  const Mapping* mapping = findMapping(process.mappings, address);
  if (mapping == nullptr && process.mappingsRound != round_) {
    readMappings(key, process);
    mapping = findMapping(process.mappings, address);
  }
  // Some machines make code in memory of such files, mapped twice: to write and to execute.
  if (mapping == nullptr || mapping->inode == 0 || mapping->path.starts_with("/memfd:")) {
    const bool named = mapping != nullptr && mapping->path.starts_with('[');
    return named ? number({mapping->path, mapping->path}) : resolveRuntime(key, process, address);
  }
  const uint32_t result = resolveInFile(key, *mapping, address);
  if (process.known.size() >= kAddressesPerProcessMax) process.known.clear();
  process.known.emplace(address, result);
  return result;
}

/** Not kept by address: code made at run time comes and goes. */
uint32_t Symbolizer::resolveRuntime(const ProcessKey& key, Process& process, uint64_t address) {
  if (process.perfMapRound != round_) readPerfMap(key, process);
  const std::string* name = process.perfMap.find(address);
  return number(name == nullptr ? Function{kUnknown, kUnknown} : Function{*name, kRuntime});
}

void Symbolizer::readPerfMap(const ProcessKey& key, Process& process) {
  process.perfMapRound = round_;
  if (!isProcess(key.pid, key.start)) return;
  const UniqueFd file = openPerfMap(key.pid);
  std::string some(kReadAtOnce, '\0');
  while (file.valid() && process.perfMapRead < kPerfMapBytesMax) {
    const ssize_t got = pread(file.get(), some.data(), some.size(), static_cast<off_t>(process.perfMapRead));
    if (got <= 0) return;
    process.perfMap.add(std::string_view(some).substr(0, static_cast<size_t>(got)));
    process.perfMapRead += static_cast<uint64_t>(got);
  }
}

uint32_t Symbolizer::resolveInFile(const ProcessKey& key, const Mapping& mapping, uint64_t address) {
  const std::string base = baseName(mapping.path);
  const Function unknown = {"[" + base + "]", base};
  const File* here = file(key, mapping);
  if (here == nullptr || !here->symbols) return number(unknown);
  const auto inFile = here->symbols->addressOf(address - mapping.start + mapping.fileOffset);
  if (!inFile) return number(unknown);
  if (here->debugSymbols) {
    if (const ElfFunction* found = here->debugSymbols->find(*inFile)) {
      const std::string name = here->debugSymbols->nameOf(*here->debugSource, *found);
      if (!name.empty()) return number({demangle(withoutSuffix(name)), base});
    }
  }
  const ElfFunction* found = here->symbols->find(*inFile);
  const std::string name = found == nullptr ? "" : here->symbols->nameOf(*here->source, *found);
  return number(name.empty() ? unknown : Function{demangle(withoutSuffix(name)), base});
}

Symbolizer::File* Symbolizer::file(const ProcessKey& key, const Mapping& mapping) {
  UniqueFd opened = openMapped(key.pid, mapping);
  struct stat info = {};
  if (!opened.valid() || fstat(opened.get(), &info) != 0 || !isProcess(key.pid, key.start)) return nullptr;
  const FileKey fileKey(info.st_dev, info.st_ino, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
  const auto known = files_.find(fileKey);
  if (known != files_.end()) {
    filesByUse_.splice(filesByUse_.begin(), filesByUse_, known->second.used);
    return &known->second;
  }
  dropFiles();
  File& fresh = files_[fileKey];
  filesByUse_.push_front(fileKey);
  fresh.used = filesByUse_.begin();
  fresh.source = std::make_unique<FileSource>(std::move(opened));
  fresh.symbols = ElfSymbols::read(*fresh.source);
  if (fresh.symbols && !fresh.symbols->isComplete()) findDebugFile(fresh);
  fresh.bytes = (fresh.symbols ? fresh.symbols->bytes() : 0) + (fresh.debugSymbols ? fresh.debugSymbols->bytes() : 0);
  filesBytes_ += fresh.bytes;
  return &fresh;
}

/** Debian's -dbgsym packages, and most others', put it there: only what the operator of this host has installed. */
void Symbolizer::findDebugFile(File& file) {
  const std::string id = hexadecimal(file.symbols->buildId());
  if (id.size() < 4) return;
  const std::string path = "/usr/lib/debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug";
  UniqueFd opened(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened.valid()) return;
  auto source = std::make_unique<FileSource>(std::move(opened));
  auto symbols = ElfSymbols::read(*source);
  if (!symbols || symbols->buildId() != file.symbols->buildId()) return;
  file.debugSource = std::move(source);
  file.debugSymbols = std::move(symbols);
}

void Symbolizer::dropFiles() {
  while (!filesByUse_.empty() && (files_.size() >= kFilesMax || filesBytes_ > kFilesBytesMax)) {
    const auto oldest = files_.find(filesByUse_.back());
    filesBytes_ -= oldest->second.bytes;
    files_.erase(oldest);
    filesByUse_.pop_back();
  }
}

}  // namespace shoal::symbols
