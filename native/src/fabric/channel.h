#pragma once

#include <optional>
#include <string>

#include "fabric/bell.h"
#include "fabric/segment.h"

namespace shoal::fabric {

/** What an end of a channel is made from, and what is passed to the process that shall have it. */
struct ChannelFds {
  UniqueFd memory;
  UniqueFd strike;
  UniqueFd listen;
};

/** One end of a channel: side 0 sends on ring 0 and receives on ring 1, side 1 the other way round. */
class ChannelEnd {
 public:
  static std::optional<ChannelEnd> open(ChannelFds fds, int side, std::string& problem);

  uint32_t ringBytes() const { return segment_.ringBytes(); }

  Producer out;
  Consumer in;
  Bell bell;

 private:
  ChannelEnd(Segment segment, int side, Bell itsBell)
      : out(segment.ring(side)), in(segment.ring(1 - side)), bell(std::move(itsBell)), segment_(std::move(segment)) {}

  Segment segment_;
};

/** Makes a channel, which takes memory when an end is opened; fds[0] and fds[1] are for its two sides. */
bool makeChannel(uint32_t ringBytes, ChannelFds (&fds)[2], std::string& problem);

}  // namespace shoal::fabric
