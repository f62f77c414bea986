#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "client/loop.h"
#include "client/messages.h"
#include "fabric/channel.h"
#include "fabric/packet_socket.h"

namespace shoal::client {

/** Gets the ends of channels in shared memory from the agent (protocol/channels.ts), dialled again when it restarts. */
class Broker final : public Watched {
 public:
  /** Descriptors, or null and why there are none. */
  using Opened = std::function<void(fabric::ChannelFds* fds, const std::string& why)>;
  /** Another instance wants to call this one. */
  using Offered = std::function<void(uint64_t channel, fabric::ChannelFds fds)>;

  Broker(Loop& loop, std::string path, Offered offered);
  ~Broker() override;

  void start() { dial(); }
  /** `opened` is called once, also when nothing is heard of the agent. */
  void open(std::string_view component, std::string_view instance, Opened opened);
  /** The channel that was offered is closed. */
  void closed(uint64_t channel);

  void onEvents(uint32_t events) override;

 private:
  struct Pending {
    Opened opened;
    Loop::Timer timer;
  };

  void dial();
  void lost();
  void take(fabric::Packet& packet);
  void settle(uint64_t requestId, fabric::ChannelFds* fds, const std::string& why);
  bool send(std::string_view packet);

  Loop& loop_;
  std::string path_;
  Offered offered_;
  UniqueFd socket_;
  Loop::Timer redial_;
  bool redials_ = false;
  milliseconds delay_;
  uint64_t nextRequest_ = 1;
  std::map<uint64_t, Pending> pending_;
};

}  // namespace shoal::client
