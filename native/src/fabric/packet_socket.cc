#include "fabric/packet_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shoal::fabric {
namespace {

constexpr int kSocketFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr int kBacklog = 8;

/** Room for the most descriptors and not one more, whatever alignment would add. */
constexpr size_t kControlBytes = CMSG_LEN(sizeof(int) * kPacketFdsMax);

/** Owns what came with a message at once, so that nothing stays open whatever happens next. */
void takeFds(msghdr& message, Packet& packet) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(control) + i * sizeof(int), sizeof number);
      UniqueFd fd(number);
      if (packet.fdCount < kPacketFdsMax) packet.fds[packet.fdCount++] = std::move(fd);
    }
  }
}

bool addressOf(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return true;
}

/** A socket bound or connected to the path by `join`. */
template <class Join>
UniqueFd socketAt(const std::string& path, int type, Join join) {
  sockaddr_un address;
  if (!addressOf(path, address)) return UniqueFd();
  UniqueFd fd(socket(AF_UNIX, type | kSocketFlags, 0));
  if (!fd.valid() || join(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int problem = errno;
  fd.reset();
  errno = problem;
  return fd;
}

}  // namespace

Received receivePacket(int socket, Packet& packet, int& problem) {
  packet.fds = {};
  packet.fdCount = 0;
  alignas(cmsghdr) char control[kControlBytes];
  iovec data = {packet.bytes.data(), packet.bytes.size()};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t length = 0;
  do {
    length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (length < 0 && errno == EINTR);
  if (length < 0) {
    problem = errno;
    return problem == EAGAIN ? Received::nothing : Received::failed;
  }
  takeFds(message, packet);
  problem = 0;
  if ((message.msg_flags & MSG_CTRUNC) != 0) problem = EMFILE;
  if ((message.msg_flags & MSG_TRUNC) != 0) problem = EMSGSIZE;
  if (problem != 0) {
    packet.fds = {};
    return Received::failed;
  }
  packet.length = static_cast<size_t>(length);
  return length == 0 ? Received::ended : Received::packet;
}

int sendPacket(int socket, const void* bytes, size_t length, const int* fds, size_t fdCount) {
  assert(fdCount <= kPacketFdsMax);
  if (length == 0 || length > kPacketBytesMax) return EMSGSIZE;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPacketFdsMax)] = {};
  iovec data = {const_cast<void*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fdCount > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fdCount);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fdCount);
    std::memcpy(CMSG_DATA(header), fds, sizeof(int) * fdCount);
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

UniqueFd listenForPackets(const std::string& path, bool asStream) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return UniqueFd();
  UniqueFd fd = socketAt(path, asStream ? SOCK_STREAM : SOCK_SEQPACKET, ::bind);
  if (fd.valid() && ::listen(fd.get(), kBacklog) != 0) fd.reset();
  return fd;
}

UniqueFd acceptPackets(int listener) {
  return UniqueFd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

UniqueFd dialPackets(const std::string& path) { return socketAt(path, SOCK_SEQPACKET, ::connect); }

}  // namespace shoal::fabric
