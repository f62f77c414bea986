#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "common/unique_fd.h"

/**
 * Packets with descriptors, over Unix sockets of type SOCK_SEQPACKET: each arrives whole with the descriptors that were
 * sent with it (SCM_RIGHTS of unix(7)). Whoever sends can be hostile: too many bytes or descriptors end the connection,
 * and no descriptor that came is left open.
 */
namespace shoal::fabric {

inline constexpr size_t kPacketBytesMax = 4096;
/** As many as an end of a channel has. */
inline constexpr size_t kPacketFdsMax = 3;

struct Packet {
  std::array<std::byte, kPacketBytesMax> bytes;
  size_t length = 0;
  std::array<UniqueFd, kPacketFdsMax> fds;
  size_t fdCount = 0;
};

enum class Received { packet, nothing, ended, failed };

/** Does not wait. `problem` is the errno of a failure: EMSGSIZE for too many bytes, EMFILE for descriptors that got
 * lost, being more than a packet may have or than this process may open. */
Received receivePacket(int socket, Packet& packet, int& problem);

/** Does not wait; 0 or errno: EAGAIN when the other side does not read. The descriptors stay the caller's. */
int sendPacket(int socket, const void* bytes, size_t length, const int* fds, size_t fdCount);

/**
 * A listening socket at the path, in place of a stale one; not valid and errno when there cannot be one. `asStream`:
 * for programs that send descriptors over SOCK_STREAM, whose bytes then come in parts that mean nothing.
 */
UniqueFd listenForPackets(const std::string& path, bool asStream);

/** Takes the next that dials; not valid and errno, EAGAIN when there is none. */
UniqueFd acceptPackets(int listener);

/** Does not wait; not valid and errno, EAGAIN when too many dial at once. */
UniqueFd dialPackets(const std::string& path);

}  // namespace shoal::fabric
