#include "client/peer.h"

#include "client/msgpack.h"
#include "client/stream_socket.h"

namespace shoal::client {
namespace {

// As sdk/peer.ts and sdk/ring-carrier.ts have them.
constexpr size_t kCallsMax = 1'024;
constexpr milliseconds kWelcomeMax{2'000};
constexpr milliseconds kImproveEvery{5'000};

bool mayServeElsewhere(const CallResponse& error) {
  return error.refused && (error.code == "SHOAL_E_SHARD_MOVED" || error.code == "SHOAL_E_NO_INSTANCE");
}

}  // namespace

/** A line to the instance, and the calls that were sent on it. */
class Peer::Channel final : public LineOwner {
 public:
  explicit Channel(const std::shared_ptr<Peer>& peer) : loop_(peer->router_.loop_), peer_(peer) {}
  ~Channel() override {
    stopWaiting();
    if (line) line->abandon();
  }

  void waitForWelcome() {
    welcome_ = loop_.after(kWelcomeMax, [this] {
      welcome_.reset();
      line->close("nobody took the channel");
    });
  }

  void onOpen() override {
    stopWaiting();
    open = true;
    const std::shared_ptr<Peer> peer = peer_.lock();
    if (!peer) return;
    for (const auto& other : peer->others_) {
      if (other.get() == this) return peer->opened(std::shared_ptr<Channel>(other));
    }
  }

  std::string onMessage(std::string_view message) override {
    std::optional<CallResponse> response = readCallResponse(message);
    if (!response) return "the callee sent a message that makes no sense";
    if (response->kind == CallResponse::Kind::leaving) {
      leave();
      return {};
    }
    // Nobody waits for it any more when its deadline has passed.
    if (sent.erase(response->id) > 0) settle(*response);
    hangUpIfIdle();
    return {};
  }

  void onEnd(const std::string& why) override {
    stopWaiting();
    line.reset();
    const std::shared_ptr<Peer> peer = peer_.lock();
    if (!peer) return;
    std::shared_ptr<Channel> self;
    if (peer->channel_.get() == this) self = std::exchange(peer->channel_, nullptr);
    for (const auto& other : peer->others_) {
      if (other.get() == this) self = other;
    }
    peer->others_.erase(self);
    loop_.bury(self);
    for (const uint64_t id : std::exchange(sent, {})) {
      peer->calls_.erase(id);
      peer->router_.settle(id, {"SHOAL_E_PEER_DIED", peer->instance_ + " was lost during the call: " + why, {}});
    }
    if (!open) peer->dialSocket(why);
  }

  /** New calls go elsewhere; those under way are answered here. */
  void leave() {
    leaving = true;
    const std::shared_ptr<Peer> peer = peer_.lock();
    if (peer && peer->channel_.get() == this) peer->others_.insert(std::exchange(peer->channel_, nullptr));
    hangUpIfIdle();
  }

  void hangUpIfIdle() {
    if (leaving && sent.empty() && line) std::shared_ptr<Line>(line)->close("all calls are answered");
  }

  std::shared_ptr<Line> line;
  std::set<uint64_t> sent;
  Clock::time_point since = Clock::now();
  std::string whyNoRing;
  bool open = false;
  bool leaving = false;

 private:
  void stopWaiting() {
    if (welcome_) loop_.cancel(*welcome_);
    welcome_.reset();
  }

  void settle(const CallResponse& response) {
    const std::shared_ptr<Peer> peer = peer_.lock();
    if (!peer) return;
    peer->calls_.erase(response.id);
    if (response.kind == CallResponse::Kind::result) {
      peer->router_.settle(response.id, {{}, {}, response.body});
    } else if (response.refused && response.code == "SHOAL_E_OVERLOADED") {
      peer->router_.elsewhere(response.id, peer->instance_, response.detail);
    } else if (mayServeElsewhere(response)) {
      peer->router_.elsewhere(response.id, peer->instance_, {});
    } else {
      peer->router_.settle(response.id, {response.code, response.detail, {}});
    }
  }

  Loop& loop_;
  std::weak_ptr<Peer> peer_;
  std::optional<Loop::Timer> welcome_;
};

Peer::~Peer() = default;

void Peer::send(uint64_t id) {
  if (calls_.size() >= kCallsMax) {
    return router_.elsewhere(id, instance_, instance_ + " has too many calls of this instance to answer");
  }
  calls_.insert(id);
  if (channel_) {
    put(*channel_, id);
    improve();
    return;
  }
  queue_.push_back(id);
  if (!dialling_) dial();
}

void Peer::giveUp(uint64_t id) {
  calls_.erase(id);
  std::erase(queue_, id);
  const auto cancel = [id](Channel& channel) {
    if (channel.sent.erase(id) == 0 || !channel.line) return;
    channel.line->send(Writer().map(2).text("type").text("cancel").text("id").number(id).bytes());
    channel.hangUpIfIdle();
  };
  if (const std::shared_ptr<Channel> channel = channel_) cancel(*channel);
  for (const auto& other : std::set(others_)) cancel(*other);
}

void Peer::count(Router::Channels& channels) const {
  if (!channel_ || !channel_->line) return;
  (channel_->line->isRing() ? channels.ring : channels.unix) += 1;
  if (!channel_->whyNoRing.empty()) channels.whyNoRing = channel_->whyNoRing;
}

void Peer::dial() {
  dialling_ = true;
  if (router_.ways_.broker == nullptr) return dialSocket(router_.ways_.whyNoRings);
  const std::weak_ptr<Peer> weak = weak_from_this();
  router_.ways_.broker->open(component_, instance_, [weak](fabric::ChannelFds* fds, const std::string& why) {
    const std::shared_ptr<Peer> self = weak.lock();
    if (!self) return;
    std::string problem = why;
    const auto channel = std::make_shared<Channel>(self);
    if (fds != nullptr) channel->line = openRingLine(self->router_.loop_, std::move(*fds), 0, *channel, problem);
    if (!channel->line) return self->dialSocket(problem);
    self->others_.insert(channel);
    channel->waitForWelcome();
  });
}

/** Where a ring cannot be had. With one channel that serves already, nothing is needed. */
void Peer::dialSocket(const std::string& why) {
  dialling_ = false;
  if (channel_) return;
  const std::string path = router_.ways_.peersFolder + "/" + component_ + "/" + instance_ + ".sock";
  UniqueFd socket = dialStream(path);
  if (!socket.valid()) return failed(why);
  const auto channel = std::make_shared<Channel>(shared_from_this());
  std::string problem;
  channel->line = openSocketLine(router_.loop_, std::move(socket), false, *channel, problem);
  if (!channel->line) return failed(problem);
  channel->whyNoRing = why;
  channel->open = true;
  opened(channel);
}

void Peer::opened(const std::shared_ptr<Channel>& channel) {
  dialling_ = false;
  others_.erase(channel);
  if (const std::shared_ptr<Channel> before = std::exchange(channel_, channel)) {
    others_.insert(before);
    before->leave();
  }
  for (const uint64_t id : std::exchange(queue_, {})) put(*channel, id);
}

void Peer::failed(const std::string&) {
  for (const uint64_t id : std::exchange(queue_, {})) {
    calls_.erase(id);
    router_.elsewhere(id, instance_, {});
  }
}

/** A channel that could be a ring but is none is dialled anew now and then; what is under way ends where it is. */
void Peer::improve() {
  if (dialling_ || channel_->line->isRing() || router_.ways_.broker == nullptr) return;
  if (Clock::now() - channel_->since < kImproveEvery) return;
  channel_->since = Clock::now();
  dial();
}

void Peer::put(Channel& channel, uint64_t id) {
  const auto found = router_.calls_.find(id);
  if (found == router_.calls_.end()) return;
  const Call& call = found->second;
  if (channel.line->queuedBytes() > kMessageBytesMax) {
    calls_.erase(id);
    return router_.elsewhere(id, instance_, instance_ + " has too many bytes of calls to take");
  }
  const std::chrono::duration<double, std::milli> left = call.deadline - Clock::now();
  const auto route = router_.routes_->find(call.component);
  const bool owned = call.key && route != router_.routes_->end() && !route->second.owners.empty();
  Writer message;
  message.map(5 + (call.key ? 1 : 0) + (owned ? 1 : 0)).text("type").text("call").text("id").number(id);
  message.text("handler").text(call.handler).text("deadlineMs").real(std::max(1.0, left.count()));
  if (call.key) message.text("key").text(*call.key);
  if (owned) message.text("shards").array(1).number(shardOfKey(*call.key, route->second.owners.size()));
  message.text("body").raw(call.body);
  channel.sent.insert(id);
  channel.line->send(message.bytes());
}

}  // namespace shoal::client
