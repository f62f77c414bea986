#include "shim/files.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "common/unique_fd.h"

namespace shoal::shim {
namespace {

int writeAll(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

int removeOne(const char* path, const struct stat*, int, struct FTW*) {
  remove(path);
  return 0;
}

}  // namespace

std::optional<std::string> readTail(const std::string& path, size_t bytesMax) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  struct stat info = {};
  if (fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) > bytesMax) {
    lseek(fd.get(), -static_cast<off_t>(bytesMax), SEEK_END);
  }
  std::string content(bytesMax, '\0');
  size_t used = 0;
  while (used < bytesMax) {
    const ssize_t count = read(fd.get(), content.data() + used, bytesMax - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    used += static_cast<size_t>(count);
  }
  content.resize(used);
  return content;
}

int writeWhole(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return errno;
  const int problem = writeAll(fd.get(), content);
  if (problem != 0) return problem;
  fd.reset();
  return rename(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
}

int writeExisting(const std::string& path, std::string_view content) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  return writeAll(fd.get(), content);
}

int makeFolders(const std::string& path) {
  for (size_t i = 1; i <= path.size(); i++) {
    if (i != path.size() && path[i] != '/') continue;
    if (mkdir(path.substr(0, i).c_str(), 0755) != 0 && errno != EEXIST) {
      const int problem = errno;
      // Above the folder a read-only or foreign one may answer something else than EEXIST.
      if (i == path.size() || access(path.substr(0, i).c_str(), X_OK) != 0) return problem;
    }
  }
  return 0;
}

void removeTree(const std::string& path) { nftw(path.c_str(), removeOne, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

std::optional<int> readPid(const std::string& path) {
  const std::optional<std::string> text = readTail(path, 32);
  if (!text) return std::nullopt;
  int pid = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), pid);
  if (result.ec != std::errc() || pid <= 0) return std::nullopt;
  return pid;
}

}  // namespace shoal::shim
