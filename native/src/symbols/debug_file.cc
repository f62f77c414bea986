#include "symbols/debug_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "symbols/limits.h"
#include "symbols/process_files.h"

namespace shoal::symbols {
namespace {

constexpr char kDebugFolder[] = "/usr/lib/debug";
constexpr size_t kReadAtOnce = 64 * 1024;

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

/** Empty where the file has no build id. */
std::string pathByBuildId(const ElfSymbols& symbols) {
  const std::string id = hexadecimal(symbols.buildId());
  return id.size() < 4 ? "" : kDebugFolder + ("/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug");
}

std::vector<std::string> pathsByLink(const Mapping& mapping, const ElfSymbols& symbols) {
  const std::string& name = symbols.debugLink().name;
  if (name.empty() || mapping.path.empty() || mapping.path[0] != '/') return {};
  const std::string folder = mapping.path.substr(0, mapping.path.rfind('/') + 1);
  return {folder + name, folder + ".debug/" + name, kDebugFolder + folder + name};
}

bool hasCheckSum(const FileSource& source, uint64_t bytes, uint32_t wanted) {
  if (bytes > kDebugLinkBytesMax) return false;
  uLong sum = crc32(0, nullptr, 0);
  std::vector<Bytef> some(kReadAtOnce);
  for (uint64_t at = 0; at < bytes; at += some.size()) {
    some.resize(std::min<uint64_t>(kReadAtOnce, bytes - at));
    if (!source.read(at, some.data(), some.size())) return false;
    sum = crc32(sum, some.data(), static_cast<uInt>(some.size()));
  }
  return sum == wanted;
}

/** What is opened there, when it was made of the same program. */
std::unique_ptr<DebugFile> accept(UniqueFd opened, const ElfSymbols& of) {
  struct stat info = {};
  if (!opened.valid() || fstat(opened.get(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
  auto source = std::make_unique<FileSource>(std::move(opened));
  auto symbols = ElfSymbols::read(*source);
  if (!symbols || symbols->buildId() != of.buildId()) return nullptr;
  const bool isSame =
      !of.buildId().empty() || hasCheckSum(*source, static_cast<uint64_t>(info.st_size), of.debugLink().crc);
  if (!isSame) return nullptr;
  return std::make_unique<DebugFile>(DebugFile{std::move(source), *std::move(symbols)});
}

}  // namespace

std::unique_ptr<DebugFile> findDebugFile(pid_t pid, const Mapping& mapping, const FileSource& file,
                                         const ElfSymbols& symbols) {
  std::vector<std::string> paths = pathsByLink(mapping, symbols);
  const std::string byBuildId = pathByBuildId(symbols);
  if (!byBuildId.empty()) {
    // Debian's -dbgsym packages, and most others', put it there: what the operator of this host has installed.
    auto found = accept(UniqueFd(open(byBuildId.c_str(), O_RDONLY | O_CLOEXEC)), symbols);
    if (found) return found;
    paths.insert(paths.begin(), byBuildId);
  }
  struct stat own = {};
  if (fstat(file.descriptor(), &own) != 0) return nullptr;
  for (const std::string& path : paths) {
    UniqueFd opened = openInRoot(pid, path);
    struct stat info = {};
    const bool counts =
        opened.valid() && fstat(opened.get(), &info) == 0 && info.st_dev == own.st_dev && info.st_ino != own.st_ino;
    auto found = counts ? accept(std::move(opened), symbols) : nullptr;
    if (found) return found;
  }
  return nullptr;
}

}  // namespace shoal::symbols
