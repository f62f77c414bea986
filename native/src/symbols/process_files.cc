#include "symbols/process_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cinttypes>
#include <cstdio>

#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

/** proc(5) counts in hundredths of a second, whatever the kernel's own clock does. */
constexpr uint64_t kNanosecondsPerTick = 10'000'000;
constexpr int kStartField = 22;

std::string procPath(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

/** Regular files alone: opening others may wait for ever, or do something. */
UniqueFd regular(UniqueFd file) {
  struct stat info = {};
  if (file.valid() && fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode)) return file;
  return UniqueFd();
}

UniqueFd openWithin(pid_t pid, const std::string& path, uint64_t resolve) {
  const UniqueFd root(open(procPath(pid, "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return UniqueFd();
  open_how how = {};
  how.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
  return regular(UniqueFd(static_cast<int>(syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how))));
}

}  // namespace

std::string readText(const std::string& path, size_t bytesMax) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char some[16384];
  while (file.valid() && text.size() < bytesMax) {
    const ssize_t got = read(file.get(), some, sizeof some);
    if (got <= 0) break;
    text.append(some, static_cast<size_t>(got));
  }
  return text;
}

std::string readProcText(pid_t pid, const char* name) { return readText(procPath(pid, name), kMapsBytesMax); }

bool isProcess(pid_t pid, uint64_t startNanoseconds) {
  const std::string text = readProcText(pid, "stat");
  // The second field, the program's name in brackets, may itself hold spaces and brackets.
  size_t at = text.rfind(')');
  for (int field = 2; field < kStartField && at != std::string::npos; field += 1) at = text.find(' ', at + 1);
  uint64_t ticks = 0;
  if (at == std::string::npos) return false;
  const auto [end, problem] = std::from_chars(text.data() + at + 1, text.data() + text.size(), ticks);
  return problem == std::errc() && ticks == startNanoseconds / kNanosecondsPerTick;
}

UniqueFd openMapped(pid_t pid, const Mapping& mapping) {
  char name[64];
  std::snprintf(name, sizeof name, "map_files/%" PRIx64 "-%" PRIx64, mapping.start, mapping.end);
  UniqueFd file = regular(UniqueFd(open(procPath(pid, name).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)));
  // Links into map_files need CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE; without them the path has to do.
  if (file.valid() || mapping.path.empty() || mapping.path[0] != '/') return file;
  file = openInRoot(pid, mapping.path);
  struct stat info = {};
  if (file.valid() && fstat(file.get(), &info) == 0 && info.st_ino == mapping.inode) return file;
  return UniqueFd();
}

UniqueFd openInRoot(pid_t pid, const std::string& path) { return openWithin(pid, path, 0); }

UniqueFd openPerfMap(pid_t pid) {
  const std::string status = readProcText(pid, "status");
  static constexpr std::string_view kLabel = "\nNSpid:";
  const size_t line = status.find(kLabel);
  if (line == std::string::npos) return UniqueFd();
  const size_t end = status.find('\n', line + kLabel.size());
  const std::string_view pids = std::string_view(status).substr(line, end - line);
  const size_t innermost = pids.find_last_of("\t ") + 1;
  return openWithin(pid, "/tmp/perf-" + std::string(pids.substr(innermost)) + ".map", RESOLVE_NO_SYMLINKS);
}

}  // namespace shoal::symbols
