#include "client/agent_link.h"

#include <algorithm>

#include "client/msgpack.h"
#include "client/stream_socket.h"

namespace shoal::client {
namespace {

// As LIMITS of protocol/limits.ts has them.
constexpr milliseconds kBeat{1'000};
constexpr milliseconds kRedialMin{50};
constexpr milliseconds kRedialMax{2'000};
constexpr milliseconds kWantedEvery{1'000};

}  // namespace

AgentLink::AgentLink(Loop& loop, std::string path, std::string instance, Events events)
    : loop_(loop),
      path_(std::move(path)),
      instance_(std::move(instance)),
      events_(std::move(events)),
      delay_(kRedialMin) {}

AgentLink::~AgentLink() { close(); }

void AgentLink::start() {
  beat_ = loop_.after(kBeat, [this] { beat(); });
  dial();
}

void AgentLink::ready() {
  ready_ = true;
  send(Writer().map(1).text("type").text("ready").bytes());
}

void AgentLink::wanted(std::string_view component) {
  const Clock::time_point now = Clock::now();
  const auto known = wantedAt_.find(component);
  if (known != wantedAt_.end() && now - known->second < kWantedEvery) return;
  wantedAt_.insert_or_assign(std::string(component), now);
  send(Writer().map(2).text("type").text("wanted").text("component").text(component).bytes());
}

void AgentLink::close() {
  if (std::exchange(closed_, true)) return;
  loop_.cancel(beat_);
  if (std::exchange(redials_, false)) loop_.cancel(redial_);
  if (line_) line_->abandon();
  line_.reset();
}

void AgentLink::dial() {
  redials_ = false;
  std::string problem;
  UniqueFd socket = dialStream(path_);
  if (socket.valid()) line_ = openSocketLine(loop_, std::move(socket), false, *this, problem);
  if (!line_) return dialAgain();
  Writer hello;
  hello.map(3).text("type").text("hello").text("instance").text(instance_).text("shards").array(0);
  send(hello.bytes());
  if (ready_) ready();
  send(events_.stats());
}

void AgentLink::dialAgain() {
  if (closed_) return;
  redials_ = true;
  redial_ = loop_.after(delay_, [this] { dial(); });
  delay_ = std::min(kRedialMax, 2 * delay_);
}

void AgentLink::beat() {
  beat_ = loop_.after(kBeat, [this] { beat(); });
  // An agent that does not read gets no queue of old numbers.
  if (line_ && line_->queuedBytes() == 0) send(events_.stats());
}

void AgentLink::send(std::string_view message) {
  if (line_) line_->send(message);
}

std::string AgentLink::onMessage(std::string_view bytes) {
  std::optional<FromAgent> message = readFromAgent(bytes);
  if (!message) return "the agent sent a message that makes no sense";
  delay_ = kRedialMin;
  switch (message->kind) {
    case FromAgent::Kind::routes:
      events_.onRoutes(std::move(message->routes));
      break;
    case FromAgent::Kind::drain:
      events_.onDrain();
      break;
    case FromAgent::Kind::activate:
      break;  // For who waits; this process is its instance already.
    case FromAgent::Kind::shard:
      refuseShard(*message);
      break;
  }
  return {};
}

void AgentLink::refuseShard(const FromAgent& message) {
  Writer done;
  done.map(4).text("type").text("shard-done").text("requestId").number(message.requestId);
  done.text("shard").number(message.shard);
  done.text("error").text(
      "a component that links libshoal.a keeps no state: `state: partitioned` needs the SDK for Node");
  send(done.bytes());
}

void AgentLink::onEnd(const std::string&) {
  line_.reset();
  dialAgain();
}

}  // namespace shoal::client
