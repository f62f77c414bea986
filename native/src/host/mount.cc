#include "host/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "host/system_error.h"

namespace shoal::host {
namespace {

int makeReadOnly(const std::string& target) {
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  const long result =
      syscall(SYS_mount_setattr, AT_FDCWD, target.c_str(), AT_RECURSIVE, &attributes, sizeof attributes);
  return result == 0 ? 0 : errno;
}

}  // namespace

void bindMount(const Napi::CallbackInfo& info) {
  const std::string source = info[0].ToString();
  const std::string target = info[1].ToString();
  const bool readonly = info[2].IsObject() && info[2].As<Napi::Object>().Get("readonly").ToBoolean();
  if (mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return throwSystemError(info.Env(), errno, "mount", source);
  }
  if (!readonly) return;
  if (const int problem = makeReadOnly(target); problem != 0) {
    umount2(target.c_str(), MNT_DETACH);
    throwSystemError(info.Env(), problem, "mount_setattr", target);
  }
}

void unmount(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) throwSystemError(info.Env(), errno, "umount2", path);
}

void mountCgroup2(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("cgroup2", path.c_str(), "cgroup2", flags, nullptr) != 0) {
    throwSystemError(info.Env(), errno, "mount", path);
  }
}

}  // namespace shoal::host
