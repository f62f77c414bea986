#include "host/sd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {

Napi::Value sdNotify(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const char* path = std::getenv("NOTIFY_SOCKET");
  const Napi::Value no = Napi::Boolean::New(env, false);
  if (path == nullptr || (path[0] != '/' && path[0] != '@')) return no;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) {
    throwSystemError(env, ENAMETOOLONG, "sd_notify", path);
    return no;
  }
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string state = info[0].ToString();
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (!fd.valid() || sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    throwSystemError(env, errno, "sd_notify", path);
    return no;
  }
  return Napi::Boolean::New(env, true);
}

}  // namespace shoal::host
