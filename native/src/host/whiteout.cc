#include "host/whiteout.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>
#include <string>

#include "host/system_error.h"

namespace shoal::host {

void markDeleted(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  if (mknod(path.c_str(), S_IFCHR, makedev(0, 0)) != 0) throwSystemError(info.Env(), errno, "mknod", path);
}

void markOpaque(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  if (lsetxattr(path.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0) {
    throwSystemError(info.Env(), errno, "lsetxattr", path);
  }
}

}  // namespace shoal::host
