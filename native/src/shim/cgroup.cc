#include "shim/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <vector>

#include "shim/files.h"
#include "shim/limits.h"

namespace shoal::shim {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

std::vector<std::string> foldersBelow(const std::string& path) {
  std::vector<std::string> found;
  const std::unique_ptr<DIR, CloseFolder> folder(opendir(path.c_str()));
  if (!folder) return found;
  while (const dirent* entry = readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") found.push_back(path + "/" + name);
  }
  return found;
}

int removeFolders(const std::string& path) {
  for (const std::string& below : foldersBelow(path)) {
    if (const int problem = removeFolders(below); problem != 0) return problem;
  }
  return rmdir(path.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

/** Kernels before 5.14 have no cgroup.kill: each process by itself, one folder after the other. */
void killOneByOne(const std::string& path) {
  for (const std::string& below : foldersBelow(path)) killOneByOne(below);
  const std::string pids = readTail(path + "/cgroup.procs", kCgroupProcsBytesMax).value_or("");
  const char* at = pids.data();
  const char* end = at + pids.size();
  while (at < end) {
    int pid = 0;
    const auto result = std::from_chars(at, end, pid);
    if (result.ec == std::errc() && pid > 0) ::kill(pid, SIGKILL);
    at = result.ptr + 1;
  }
}

}  // namespace

int Cgroup::open() {
  if (const int problem = makeFolders(path_); problem != 0) return problem;
  folder_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return folder_.valid() ? 0 : errno;
}

int Cgroup::enter() const {
  const UniqueFd procs(openat(folder_.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
  if (!procs.valid()) return errno;
  return write(procs.get(), "0", 1) == 1 ? 0 : errno;
}

int Cgroup::kill() const {
  const int problem = writeExisting(path_ + "/cgroup.kill", "1");
  if (problem == 0 || access(path_.c_str(), F_OK) != 0) return 0;
  killOneByOne(path_);
  return 0;
}

bool Cgroup::isEmpty() const {
  const std::optional<std::string> events = readTail(path_ + "/cgroup.events", 4096);
  return !events || events->find("populated 1") == std::string::npos;
}

MemoryEvents Cgroup::memoryEvents() const {
  return shoal::shim::memoryEvents(readTail(path_ + "/memory.events", 4096).value_or(""));
}

int Cgroup::remove() const { return removeFolders(path_); }

}  // namespace shoal::shim
