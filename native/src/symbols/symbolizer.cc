#include "symbols/symbolizer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

/** Several names of one function differ by what was made of it: `work.constprop.0` is still work, and so is
 * `work@@GLIBC_2.34`. */
std::string withoutSuffix(std::string name) {
  for (const char* suffix : {".constprop.", ".isra.", ".part.", ".cold", "@"}) {
    const size_t at = name.find(suffix);
    if (at != std::string::npos && at > 0) name.resize(at);
  }
  return name;
}

/** The file in which the debug information is: its own, or what was stripped from it; null without any. */
const FileSource* debugInfoOf(const FileSource& own, const std::optional<ElfSymbols>& symbols, const DebugFile* debug) {
  if (symbols && symbols->hasDebugInfo()) return &own;
  return debug != nullptr && debug->symbols.hasDebugInfo() ? debug->source.get() : nullptr;
}

}  // namespace

Symbolizer::Symbolizer(std::string inlinesProgram)
    : inlineReader_(std::move(inlinesProgram)),
      inlinesBudget_(static_cast<double>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L)) / kInlineTimeOneIn,
                     std::chrono::seconds(kInlineSavedSeconds), std::chrono::steady_clock::now()) {}

void Symbolizer::beginRound() {
  round_ += 1;
  asked_.clear();
  if (frames_.isFull()) {
    forgetAddresses();
    frames_.clear();
  }
  if (addressesKept_ > kAddressesMax) forgetAddresses();
  std::erase_if(processes_, [this](const auto& each) { return round_ - each.second.usedRound > kRoundsKept; });
  if (processes_.size() <= kProcessesMax) return;
  std::vector<std::pair<uint64_t, ProcessKey>> byUse;
  for (const auto& [key, each] : processes_) byUse.push_back({each.usedRound, key});
  std::sort(byUse.begin(), byUse.end());
  for (size_t i = 0; i + kProcessesMax < byUse.size(); i += 1) processes_.erase(byUse[i].second);
}

void Symbolizer::forgetAddresses() {
  for (auto& [key, file] : files_) {
    file.inlined.clear();
    file.named.clear();
  }
  kernelNamed_.clear();
  addressesKept_ = 0;
}

void Symbolizer::resolveKernel(const unsigned long long* addresses, size_t count, std::vector<uint32_t>& into) {
  if (count > 0 && !kernel_) {
    kernel_ = KernelSymbols::parse(readText("/proc/kallsyms", kKernelSymbolsBytesMax));
  }
  for (size_t i = 0; i < count; i += 1) {
    const uint64_t address = addresses[i] - (i > 0 ? 1 : 0);
    const auto [known, isNew] = kernelNamed_.try_emplace(address);
    if (isNew) {
      const std::string_view name = kernel_->find(address);
      known->second = frames_.number({name.empty() ? kKernel : withoutSuffix(std::string(name)), kKernel, ""});
      addressesKept_ += 1;
    }
    into.push_back(known->second);
  }
}

void Symbolizer::prepareUser(const ProcessKey& key, const unsigned long long* addresses, size_t count) {
  if (count == 0) return;
  Process& owner = process(key);
  // Code without a file is looked up anew each time, and nothing has to be read for it.
  for (size_t i = 0; i < count; i += 1) {
    const uint64_t address = addresses[i] - (i > 0 ? 1 : 0);
    const Mapping* mapping = findMapping(owner.mappings, address);
    if (mapping != nullptr && mapping->inode != 0) resolve(key, owner, address);
  }
}

void Symbolizer::resolveUser(const ProcessKey& key, const unsigned long long* addresses, size_t count,
                             std::vector<uint32_t>& into) {
  if (count == 0) return;
  Process& owner = process(key);
  for (size_t i = 0; i < count; i += 1) {
    // All but the leaf are where a call returns to, which may already be in the next function.
    const std::vector<uint32_t>& numbers = frames_.numbers(resolve(key, owner, addresses[i] - (i > 0 ? 1 : 0)));
    into.insert(into.end(), numbers.begin(), numbers.end());
  }
}

void Symbolizer::readInlined() {
  using Clock = std::chrono::steady_clock;
  std::vector<File*> files;
  for (const FileKey& key : asked_) {
    const auto found = files_.find(key);
    if (found != files_.end() && found->second.inlineRestUntil <= Clock::now()) files.push_back(&found->second);
  }
  // One that takes long, as a container may have made it to, waits for the others.
  std::sort(files.begin(), files.end(), [](const File* a, const File* b) { return a->inlineSpent < b->inlineSpent; });
  std::chrono::microseconds spent{};
  for (File* file : files) {
    if (spent > std::chrono::milliseconds(kInlineRoundMs) || !inlinesBudget_.isLeft(Clock::now())) break;
    const auto took = readInlined(*file);
    spent += took;
    inlinesBudget_.spend(took);
  }
}

std::chrono::microseconds Symbolizer::readInlined(File& file) {
  const FileSource* source = debugInfoOf(*file.source, file.symbols, file.debug.get());
  std::vector<uint64_t> addresses(file.wanted.begin(), file.wanted.end());
  addresses.resize(std::min(addresses.size(), kInlineAddressesMax));
  if (source == nullptr || addresses.empty()) return {};
  const auto before = inlineReader_.spent();
  const auto answer = inlineReader_.read(source->descriptor(), addresses);
  const auto took = inlineReader_.spent() - before;
  file.inlineSpent += took;
  if (!answer) {
    file.inlineFailures += 1;
    return took;
  }
  file.inlineFailures = 0;
  file.inlineRestUntil = std::chrono::steady_clock::now() + file.inlineRest * took;
  file.inlineRest = std::min(kInlineRestGrowth * file.inlineRest, kInlineRestMost);
  file.isSplit = file.isSplit || answer->isSplit;
  for (size_t i = 0; i < addresses.size(); i += 1) {
    std::vector<uint32_t> numbers;
    for (const InlinedFunction& each : answer->inlined[i]) {
      const std::string place = each.file.empty() ? "?" : each.file + ":" + std::to_string(each.line);
      numbers.push_back(frames_.number({demangle(withoutSuffix(each.name)), file.name, place}));
    }
    file.inlined[addresses[i]] = std::move(numbers);
    file.wanted.erase(addresses[i]);
  }
  addressesKept_ += addresses.size();
  return took;
}

std::vector<Symbolizer::InlinesLeftOut> Symbolizer::inlinesLeftOut() const {
  std::set<InlinesLeftOut> all;
  for (const auto& [key, each] : files_) {
    if (each.isSplit || each.inlineFailures >= kInlineFailuresMax) all.insert({each.name, each.isSplit});
  }
  return {all.begin(), all.end()};
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
  if (mappings.empty() || !isProcess(key.pid, key.start)) return;
  process.mappings = std::move(mappings);
  process.files.clear();
}

const std::vector<Mapping>& Symbolizer::mappings(const ProcessKey& key, bool again) {
  Process& owner = process(key);
  if (again && owner.mappingsRound != round_) readMappings(key, owner);
  return owner.mappings;
}

std::optional<ElfFile> Symbolizer::elf(const ProcessKey& key, const Mapping& mapping) {
  const File* found = file(key, process(key), mapping);
  const auto known = found == nullptr ? files_.end() : files_.find(*found->used);
  if (known == files_.end() || !found->symbols) return std::nullopt;
  return ElfFile{known->first, *found->symbols, *found->source};
}

uint32_t Symbolizer::resolve(const ProcessKey& key, Process& process, uint64_t address) {
  const Mapping* mapping = findMapping(process.mappings, address);
  if (mapping == nullptr && process.mappingsRound != round_) {
    readMappings(key, process);
    mapping = findMapping(process.mappings, address);
  }
  // Some machines make code in memory of such files, mapped twice: to write and to execute.
  if (mapping == nullptr || mapping->inode == 0 || mapping->path.starts_with("/memfd:")) {
    const bool named = mapping != nullptr && mapping->path.starts_with('[');
    return named ? frames_.chain({mapping->path, mapping->path, ""}) : resolveRuntime(key, process, address);
  }
  return resolveInFile(key, process, *mapping, address);
}

/** Not kept by address: code made at run time comes and goes. */
uint32_t Symbolizer::resolveRuntime(const ProcessKey& key, Process& process, uint64_t address) {
  if (process.perfMapRound != round_) readPerfMap(key, process);
  const std::string* name = process.perfMap.find(address);
  return frames_.chain(name == nullptr ? Function{kUnknown, kUnknown, ""} : Function{*name, kRuntime, ""});
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

uint32_t Symbolizer::resolveInFile(const ProcessKey& key, Process& process, const Mapping& mapping, uint64_t address) {
  File* here = file(key, process, mapping);
  const auto inFile = here == nullptr || !here->symbols
                          ? std::nullopt
                          : here->symbols->addressOf(address - mapping.start + mapping.fileOffset);
  if (!inFile) {
    const std::string base = baseName(mapping.path);
    return frames_.chain({"[" + base + "]", base, ""});
  }
  const auto known = here->named.find(*inFile);
  if (known != here->named.end()) return known->second;
  const std::vector<uint32_t>* inlined = inlinedAt(*here, *inFile);
  std::vector<uint32_t> numbers = inlined == nullptr ? std::vector<uint32_t>() : *inlined;
  const std::string name = functionAt(*here, *inFile);
  numbers.push_back(
      frames_.number({name.empty() ? "[" + here->name + "]" : demangle(withoutSuffix(name)), here->name, ""}));
  const uint32_t chain = frames_.chain(numbers);
  if (inlined != nullptr) {
    here->named.emplace(*inFile, chain);
    addressesKept_ += 1;
  }
  return chain;
}

const std::vector<uint32_t>* Symbolizer::inlinedAt(File& file, uint64_t address) {
  static const std::vector<uint32_t> kNone;
  const bool isKnowable = inlineReader_.isThere() && file.inlineFailures < kInlineFailuresMax &&
                          debugInfoOf(*file.source, file.symbols, file.debug.get()) != nullptr;
  if (!isKnowable) return &kNone;
  const auto found = file.inlined.find(address);
  if (found != file.inlined.end()) return &found->second;
  if (file.wanted.size() < kInlineAddressesMax) file.wanted.insert(address);
  asked_.insert(*file.used);
  return nullptr;
}

/** Empty where no symbol is known. */
std::string Symbolizer::functionAt(const File& file, uint64_t address) const {
  if (file.debug) {
    const ElfFunction* found = file.debug->symbols.find(address);
    std::string name = found == nullptr ? "" : file.debug->symbols.nameOf(*file.debug->source, *found);
    if (!name.empty()) return name;
  }
  const ElfFunction* found = file.symbols->find(address);
  return found == nullptr ? "" : file.symbols->nameOf(*file.source, *found);
}

Symbolizer::File* Symbolizer::keptFile(const FileKey& key) {
  const auto kept = files_.find(key);
  if (kept == files_.end()) return nullptr;
  filesByUse_.splice(filesByUse_.begin(), filesByUse_, kept->second.used);
  return &kept->second;
}

/** Null when it cannot be opened any more. */
Symbolizer::File* Symbolizer::file(const ProcessKey& key, Process& process, const Mapping& mapping) {
  const auto behind = process.files.find(mapping.start);
  if (behind != process.files.end()) {
    if (File* kept = keptFile(behind->second)) return kept;
  }
  UniqueFd opened = openMapped(key.pid, mapping);
  struct stat info = {};
  if (!opened.valid() || fstat(opened.get(), &info) != 0 || !isProcess(key.pid, key.start)) return nullptr;
  const FileKey fileKey(info.st_dev, info.st_ino, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
  process.files[mapping.start] = fileKey;
  if (File* kept = keptFile(fileKey)) return kept;
  dropFiles();
  File& fresh = files_[fileKey];
  filesByUse_.push_front(fileKey);
  fresh.used = filesByUse_.begin();
  fresh.source = std::make_unique<FileSource>(std::move(opened));
  fresh.symbols = ElfSymbols::read(*fresh.source);
  fresh.name = baseName(mapping.path);
  if (fresh.symbols && !(fresh.symbols->isComplete() && fresh.symbols->hasDebugInfo()))
    fresh.debug = findDebugFile(key.pid, mapping, *fresh.source, *fresh.symbols);
  fresh.bytes = (fresh.symbols ? fresh.symbols->bytes() : 0) + (fresh.debug ? fresh.debug->symbols.bytes() : 0);
  filesBytes_ += fresh.bytes;
  return &fresh;
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
