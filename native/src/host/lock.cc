#include "host/lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

/** Descriptors whose locks last as long as the process. */
std::vector<UniqueFd>& heldLocks() {
  static std::vector<UniqueFd> held;
  return held;
}

}  // namespace

Napi::Value lockIsHeld(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string path = info[0].ToString();
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    if (errno != ENOENT) throwSystemError(env, errno, "open", path);
    return Napi::Boolean::New(env, false);
  }
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(env, false);
  if (errno != EWOULDBLOCK) throwSystemError(env, errno, "flock", path);
  return Napi::Boolean::New(env, true);
}

void acquireLock(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return throwSystemError(info.Env(), errno, "open", path);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return throwSystemError(info.Env(), errno, "flock", path);
  heldLocks().push_back(std::move(fd));
}

}  // namespace shoal::host
