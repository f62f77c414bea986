#include "client/broker.h"

#include <sys/epoll.h>

#include <algorithm>

#include "client/msgpack.h"

namespace shoal::client {
namespace {

// As sdk/channel-broker.ts has them.
constexpr milliseconds kOpenMax{1'000};
constexpr milliseconds kRedialMin{50};
constexpr milliseconds kRedialMax{2'000};

}  // namespace

Broker::Broker(Loop& loop, std::string path, Offered offered)
    : loop_(loop), path_(std::move(path)), offered_(std::move(offered)), delay_(kRedialMin) {}

Broker::~Broker() {
  if (redials_) loop_.cancel(redial_);
  for (auto& [id, pending] : pending_) loop_.cancel(pending.timer);
  if (socket_.valid()) loop_.forget(socket_.get(), this);
}

void Broker::dial() {
  redials_ = false;
  socket_ = fabric::dialPackets(path_);
  if (socket_.valid() && loop_.watch(socket_.get(), EPOLLIN, this)) return;
  lost();
}

void Broker::lost() {
  if (socket_.valid()) loop_.forget(socket_.get(), this);
  socket_.reset();
  if (!redials_) {
    redials_ = true;
    redial_ = loop_.after(delay_, [this] { dial(); });
    delay_ = std::min(kRedialMax, 2 * delay_);
  }
  while (!pending_.empty()) settle(pending_.begin()->first, nullptr, "the agent closed the connection");
}

void Broker::open(std::string_view component, std::string_view instance, Opened opened) {
  if (!socket_.valid()) return opened(nullptr, "the agent is away");
  const uint64_t id = nextRequest_++;
  const Loop::Timer timer = loop_.after(kOpenMax, [this, id] {
    const auto node = pending_.extract(id);
    node.mapped().opened(nullptr, "the agent did not answer");
  });
  pending_.emplace(id, Pending{std::move(opened), timer});
  Writer request;
  request.map(4).text("type").text("open").text("requestId").number(id);
  request.text("component").text(component).text("instance").text(instance);
  if (!send(request.bytes())) lost();
}

void Broker::closed(uint64_t channel) {
  const Writer request = Writer().map(2).text("type").text("closed").text("channel").number(channel);
  // Who does not hear it sees that the process at the other end has closed its own.
  if (socket_.valid() && !send(request.bytes())) lost();
}

bool Broker::send(std::string_view packet) {
  return fabric::sendPacket(socket_.get(), packet.data(), packet.size(), nullptr, 0) == 0;
}

void Broker::onEvents(uint32_t) {
  while (socket_.valid()) {
    fabric::Packet packet;
    int problem = 0;
    const fabric::Received received = fabric::receivePacket(socket_.get(), packet, problem);
    if (received == fabric::Received::nothing) return;
    if (received != fabric::Received::packet) return lost();
    take(packet);
  }
}

void Broker::take(fabric::Packet& packet) {
  const std::string_view bytes(reinterpret_cast<const char*>(packet.bytes.data()), packet.length);
  const std::optional<ChannelReply> reply = readChannelReply(bytes);
  const bool carries = reply && reply->kind != ChannelReply::Kind::refused;
  // An agent that makes no sense is dialled again, more and more slowly.
  if (!reply || (carries && packet.fdCount != fabric::kPacketFdsMax)) return lost();
  delay_ = kRedialMin;
  if (!carries) return settle(reply->requestId, nullptr, reply->detail);
  fabric::ChannelFds fds = {std::move(packet.fds[0]), std::move(packet.fds[1]), std::move(packet.fds[2])};
  if (reply->kind == ChannelReply::Kind::opened) {
    settle(reply->requestId, &fds, {});
  } else {
    offered_(reply->channel, std::move(fds));
  }
}

/** Whom nobody waits for any more is closed with its descriptors. */
void Broker::settle(uint64_t requestId, fabric::ChannelFds* fds, const std::string& why) {
  auto node = pending_.extract(requestId);
  if (node.empty()) return;
  loop_.cancel(node.mapped().timer);
  node.mapped().opened(fds, why);
}

}  // namespace shoal::client
