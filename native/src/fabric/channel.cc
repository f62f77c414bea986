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

bool makeChannel(uint32_t ringBytes, ChannelFds (&fds)[2], std::string& problem) {
  UniqueFd memory = Segment::prepare(ringBytes, problem);
  if (!memory.valid()) return false;
  UniqueFd strike[2];
  UniqueFd listen[2];
  UniqueFd copy(fcntl(memory.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid() || !makeBells(strike, listen)) {
    problem = std::string("a channel needs six descriptors: ") + std::strerror(errno);
    return false;
  }
  fds[0] = {std::move(memory), std::move(strike[0]), std::move(listen[0])};
  fds[1] = {std::move(copy), std::move(strike[1]), std::move(listen[1])};
  return true;
}

}  // namespace shoal::fabric
