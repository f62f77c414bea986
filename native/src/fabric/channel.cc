#include "fabric/channel.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

namespace shoal::fabric {

std::optional<ChannelEnd> ChannelEnd::open(ChannelFds fds, int side, std::string& problem) {
  std::optional<Segment> segment = Segment::map(std::move(fds.memory), problem);
  if (!segment) return std::nullopt;
  return ChannelEnd(std::move(*segment), side, Bell(std::move(fds.strike), std::move(fds.listen)));
}

bool makeChannel(uint32_t ringBytes, bool hugePages, ChannelFds (&fds)[2], std::string& problem) {
  const std::optional<Segment> segment = Segment::create(ringBytes, hugePages, problem);
  if (!segment) return false;
  UniqueFd strike[2];
  UniqueFd listen[2];
  bool made = makeBells(strike, listen);
  for (int side = 0; side < 2 && made; ++side) {
    UniqueFd memory(fcntl(segment->fd(), F_DUPFD_CLOEXEC, 0));
    made = memory.valid();
    fds[side] = {std::move(memory), std::move(strike[side]), std::move(listen[side])};
  }
  if (!made) problem = std::string("a channel needs six descriptors: ") + std::strerror(errno);
  return made;
}

}  // namespace shoal::fabric
