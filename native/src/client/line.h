#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "client/loop.h"
#include "fabric/channel.h"

/** A connection to another instance: whole messages, in order, each at most once. */
namespace shoal::client {

class LineOwner {
 public:
  virtual ~LineOwner() = default;
  /** What makes no sense is answered with the reason, which ends the line; empty otherwise. */
  virtual std::string onMessage(std::string_view message) = 0;
  /** Once, and last. */
  virtual void onEnd(const std::string& why) = 0;
  /** The other side has taken the line: what is sent now arrives. */
  virtual void onOpen() {}
};

class Line {
 public:
  virtual ~Line() = default;
  virtual bool isRing() const = 0;
  /** Copies. What has no room waits here. */
  virtual void send(std::string_view message) = 0;
  virtual size_t queuedBytes() const = 0;
  /** What was sent before still goes out; onEnd() follows. */
  virtual void close(const std::string& why) = 0;
  /** Ends it at once, for an owner that goes: it is told nothing more. */
  virtual void abandon() = 0;
};

/** Messages in rings. Side 1 took it, and says so; side 0 waits for that. Null and the problem when it cannot be had.
 */
std::shared_ptr<Line> openRingLine(Loop& loop, fabric::ChannelFds fds, int side, LineOwner& owner,
                                   std::string& problem);
/** Messages as frames over a connected stream socket. `accepted`: by us, else dialled. */
std::shared_ptr<Line> openSocketLine(Loop& loop, UniqueFd socket, bool accepted, LineOwner& owner,
                                     std::string& problem);

/** As LIMITS of protocol/limits.ts has it. */
inline constexpr size_t kMessageBytesMax = 16 * 1024 * 1024;

}  // namespace shoal::client
