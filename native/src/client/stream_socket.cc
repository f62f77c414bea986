#include "client/stream_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace shoal::client {
namespace {

/** Everybody who sees the socket may dial: who sees it is decided by the agent, which links it. */
constexpr mode_t kSocketMode = 0666;
constexpr int kBacklog = 128;

/** The folder's descriptor stands in for a path that is too long for an address. */
class Address {
 public:
  explicit Address(const std::string& path) {
    std::string shortened = path;
    const size_t slash = path.rfind('/');
    if (path.size() >= sizeof address_.sun_path && slash != std::string::npos) {
      folder_.reset(open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      shortened = "/proc/self/fd/" + std::to_string(folder_.get()) + path.substr(slash);
    }
    address_.sun_family = AF_UNIX;
    fits_ = shortened.size() < sizeof address_.sun_path;
    if (fits_) std::memcpy(address_.sun_path, shortened.c_str(), shortened.size() + 1);
  }

  bool fits() const { return fits_; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }

 private:
  UniqueFd folder_;
  sockaddr_un address_{};
  bool fits_ = false;
};

UniqueFd fail(int problem) {
  errno = problem;
  return UniqueFd();
}

}  // namespace

UniqueFd dialStream(const std::string& path) {
  const Address address(path);
  if (!address.fits()) return fail(ENAMETOOLONG);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid() || connect(socket.get(), address.get(), sizeof(sockaddr_un)) == 0) return socket;
  const int problem = errno;
  socket.reset();
  return fail(problem);
}

UniqueFd listenStream(const std::string& path) {
  const Address address(path);
  if (!address.fits()) return fail(ENAMETOOLONG);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return UniqueFd();
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return socket;
  if (bind(socket.get(), address.get(), sizeof(sockaddr_un)) == 0 && listen(socket.get(), kBacklog) == 0 &&
      chmod(path.c_str(), kSocketMode) == 0) {
    return socket;
  }
  const int problem = errno;
  socket.reset();
  return fail(problem);
}

}  // namespace shoal::client
