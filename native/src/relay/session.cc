#include "relay/session.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "relay/limits.h"

namespace shoal::relay {
namespace {

using fabric::Corruption;
using fabric::kWordBytes;
using fabric::recordWords;

/** Processed before what was delivered is shown to the local instances. */
constexpr uint64_t kBatchBytes = 256u << 10;

}  // namespace

bool Session::attach(uint32_t number, fabric::ChannelEnd end, uint32_t ringBytes, std::string& problem) {
  if (ringBytes > stream_.bytes()) {
    problem = "a ring between hosts has at most " + std::to_string(stream_.bytes()) + " bytes, this one has " +
              std::to_string(ringBytes);
    return false;
  }
  Channel* channel = find(number);
  if (channel == nullptr) {
    if (channels_.size() >= kChannelsMax) {
      problem = "a connection has at most " + std::to_string(kChannelsMax) + " channels";
      return false;
    }
    channel = channels_.emplace(number, std::make_unique<Channel>(number)).first->second.get();
  } else if (channel->ownRingBytes != 0) {
    problem = "channel " + std::to_string(number) + " is attached already";
    return false;
  }
  channel->end.emplace(std::move(end));
  // The other side counts where in the ring its records are.
  channel->end->out.goThrough();
  channel->ownRingBytes = ringBytes;
  channel->returned = channel->end->out.position();
  channel->openDue = true;
  // The peer's side may have come and gone before ours came.
  if (channel->heard != EndReason::none) close(*channel, channel->heard, true);
  activate(*channel);
  return true;
}

void Session::detach(uint32_t number, EndReason reason) {
  Channel* channel = find(number);
  if (channel == nullptr) {
    // The agents' link may be faster than this connection: the peer's side is about to come, and is to go then.
    if (channels_.size() >= kChannelsMax) return;
    channel = channels_.emplace(number, std::make_unique<Channel>(number)).first->second.get();
  }
  if (channel->closing != EndReason::none) return;
  if (channel->ownRingBytes == 0) {
    // Only the peer has a side. No frame comes before the one that opens, thus it is opened to be closed.
    channel->ownRingBytes = fabric::kRingBytesMin;
    channel->openDue = true;
  }
  close(*channel, reason, false);
}

void Session::endAll(EndReason reason) {
  for (const auto& [number, channel] : channels_)
    if (channel->end) close(*channel, reason, false);
}

int Session::listenFd(uint32_t number) const {
  const auto found = channels_.find(number);
  return found == channels_.end() || !found->second->end ? -1 : found->second->end->bell.listenFd();
}

bool Session::hear(uint32_t number) {
  Channel* channel = find(number);
  if (channel == nullptr || !channel->end) return false;
  if (channel->end->bell.hear() == fabric::Wait::peerGone) channel->gone = true;
  activate(*channel);
  return channel->gone;
}

Session::Channel* Session::find(uint32_t number) {
  const auto found = channels_.find(number);
  return found == channels_.end() ? nullptr : found->second.get();
}

void Session::activate(Channel& channel) {
  if (channel.asleep && channel.end) {
    channel.end->in.cancelSleep();
    channel.end->out.cancelWait();
  }
  channel.asleep = false;
  if (channel.active) return;
  channel.active = true;
  active_.push_back(&channel);
}

// --- From local rings into the stream

Turn Session::pump() {
  bool progress = false;
  for (size_t i = 0; i < active_.size();) {
    Channel& channel = *active_[i];
    progress |= servesControl(channel);
    if (channel.end) progress |= returnRoom(channel);
    if (channel.end && channel.peerWords != 0) progress |= take(channel);
    if (channel.end && channel.peerWords == 0 && channel.gone) endUnopened(channel);
    if (channel.closeSent && channel.heard != EndReason::none) {
      active_[i] = active_.back();
      active_.pop_back();
      channels_.erase(channel.number);
      continue;
    }
    i += 1;
  }
  return progress ? Turn::progress : Turn::idle;
}

bool Session::putControl(FrameKind kind, uint32_t number, uint32_t value) {
  if (!stream_.hasRoom(0)) return false;
  stream_.put({0, kind, 0, number, value});
  return true;
}

/** What the peer must be told of the channel's beginning and end. */
bool Session::servesControl(Channel& channel) {
  bool progress = false;
  if (channel.openDue && putControl(FrameKind::open, channel.number, channel.ownRingBytes)) {
    channel.openDue = false;
    progress = true;
  }
  if (channel.closing == EndReason::none || channel.openDue || channel.closeSent) return progress;
  channel.closeSent = putControl(FrameKind::close, channel.number, static_cast<uint32_t>(channel.closing));
  return progress || channel.closeSent;
}

bool Session::take(Channel& channel) {
  const uint64_t began = stream_.written();
  uint32_t records = 0;
  while (records < kTurnRecords && stream_.written() - began < kTurnBytes && takeOne(channel)) records += 1;
  if (!channel.end) return true;
  if (!channel.held && channel.end->in.release()) channel.end->bell.strike();
  return records > 0;
}

/** The instance is gone before the peer's side has come, which is waited for only when there is something to give it.
 */
void Session::endUnopened(Channel& channel) {
  if (channel.held) return;
  fabric::Record record;
  switch (channel.end->in.next(record)) {
    case fabric::Take::corrupt:
      close(channel, EndReason::corrupt, false);
      break;
    case fabric::Take::empty:
      close(channel, EndReason::ended, false);
      break;
    case fabric::Take::record:
      channel.held = record;
  }
}

bool Session::takeOne(Channel& channel) {
  if (!channel.held) {
    fabric::Record record;
    switch (channel.end->in.next(record)) {
      case fabric::Take::corrupt:
        close(channel, EndReason::corrupt, false);
        return false;
      case fabric::Take::empty:
        if (channel.gone) close(channel, EndReason::ended, false);
        return false;
      case fabric::Take::record:
        channel.held = record;
    }
  }
  const fabric::Record record = *channel.held;
  if (record.length > fabric::recordBytesMax(channel.peerWords * kWordBytes)) {
    close(channel, EndReason::tooLong, false);
    return false;
  }
  if (!peerHasRoom(channel, record.length) || !stream_.hasRoom(record.length)) return false;
  std::memcpy(stream_.payload(), record.data, record.length);
  stream_.put({record.length, FrameKind::record, record.more ? kFrameMore : uint16_t{0}, channel.number, 0});
  countAtPeer(channel, record.length);
  channel.held.reset();
  stats_.recordsOut += 1;
  stats_.bytesOut += record.length;
  return true;
}

/** As BasicProducer::fits() will find it over there, or better. */
bool Session::peerHasRoom(const Channel& channel, uint32_t length) const {
  const uint32_t words = recordWords(length);
  const uint32_t end = channel.peerWords - (channel.peerWritten & (channel.peerWords - 1));
  const uint32_t used = channel.peerWritten - channel.peerReleased;
  return used + words + (words > end ? end : 0) + 1 <= channel.peerWords;
}

void Session::countAtPeer(Channel& channel, uint32_t length) {
  const uint32_t words = recordWords(length);
  const uint32_t end = channel.peerWords - (channel.peerWritten & (channel.peerWords - 1));
  channel.peerWritten += words + (words > end ? end : 0);
}

/** Tells the peer what the local consumer gave back: when it is much, or when the peer may be waiting for it. */
bool Session::returnRoom(Channel& channel) {
  fabric::Producer& out = channel.end->out;
  const uint32_t released = out.released();
  if (out.corruption() != Corruption::none) {
    close(channel, EndReason::corrupt, false);
    return true;
  }
  const uint32_t words = channel.ownRingBytes / kWordBytes;
  const bool isMuch = released - channel.returned >= words / 4;
  // A record takes at most half a ring: who knows half of it to be free does not wait.
  const bool mayWait = out.position() - channel.returned > words / 2 && out.position() - released <= words / 2;
  if (!isMuch && !mayWait) return false;
  if (!putControl(FrameKind::released, channel.number, released)) return false;
  channel.returned = released;
  return true;
}

void Session::close(Channel& channel, EndReason reason, bool byPeer) {
  assert(channel.closing == EndReason::none && reason != EndReason::none);
  channel.held.reset();
  channel.end.reset();
  channel.closing = reason;
  ended_.push_back({channel.number, reason, byPeer});
  activate(channel);
}

bool Session::announceSleep() {
  bool quiet = true;
  for (size_t i = 0; i < active_.size();) {
    Channel& channel = *active_[i];
    const Sleep sleep = fallAsleep(channel);
    if (sleep != Sleep::asleep) {
      quiet = quiet && sleep == Sleep::waitsForStream;
      i += 1;
      continue;
    }
    channel.asleep = true;
    channel.active = false;
    active_[i] = active_.back();
    active_.pop_back();
  }
  return quiet;
}

/** Asks for the bell. What waits for room at the peer is woken by its frames; what waits for the stream stays active.
 */
Session::Sleep Session::fallAsleep(Channel& channel) {
  const bool controlDue = channel.openDue || (channel.closing != EndReason::none && !channel.closeSent);
  if (controlDue) return Sleep::waitsForStream;
  if (!channel.end) return Sleep::asleep;
  fabric::ChannelEnd& end = *channel.end;
  const uint32_t words = channel.ownRingBytes / kWordBytes;
  const Sleep otherwise = stream_.hasRoom(0) ? Sleep::news : Sleep::waitsForStream;
  if (end.out.position() - channel.returned > words / 2 && !end.out.announceWaitForHalf()) return otherwise;
  if (channel.peerWords == 0) return Sleep::asleep;
  if (channel.held) return peerHasRoom(channel, channel.held->length) ? Sleep::waitsForStream : Sleep::asleep;
  return end.in.announceSleep() ? Sleep::asleep : Sleep::news;
}

// --- From the stream into local rings

Turn Session::process() {
  const uint64_t began = stream_.processed();
  Turn turn = Turn::idle;
  while (stream_.processed() - began < kBatchBytes) {
    const uint64_t there = stream_.landed() - stream_.processed();
    if (there < sizeof(FrameHeader)) break;
    // One look: with verbs the peer can write here while we read.
    FrameHeader header;
    const std::byte* frame = stream_.in().at(stream_.processed());
    std::memcpy(&header, frame, sizeof header);
    if (header.length > stream_.bytes() / 4) return Turn::hostile;
    if (there < frameBytes(header.length)) break;
    if (!apply(header, frame + sizeof header)) return Turn::hostile;
    stream_.process(frameBytes(header.length));
    turn = Turn::progress;
  }
  publishDelivered();
  return turn;
}

bool Session::apply(const FrameHeader& header, const std::byte* payload) {
  Channel* channel = find(header.channel);
  if (header.kind != FrameKind::record && (header.length != 0 || header.flags != 0)) return false;
  if (header.kind == FrameKind::open && channel == nullptr) {
    if (channels_.size() >= kChannelsMax) return false;
    channel = channels_.emplace(header.channel, std::make_unique<Channel>(header.channel)).first->second.get();
  }
  if (channel == nullptr || channel->heard != EndReason::none) return false;
  if ((channel->peerWords == 0) != (header.kind == FrameKind::open)) return false;
  switch (header.kind) {
    case FrameKind::record:
      return deliver(*channel, header, payload);
    case FrameKind::open:
      if (!fabric::isRingSize(header.value) || header.value > stream_.bytes()) return false;
      channel->peerWords = header.value / kWordBytes;
      activate(*channel);
      return true;
    case FrameKind::released:
      if (header.value - channel->peerReleased > channel->peerWritten - channel->peerReleased) return false;
      channel->peerReleased = header.value;
      activate(*channel);
      return true;
    case FrameKind::close:
      if (header.value == 0 || header.value > kEndReasonMax) return false;
      channel->heard = static_cast<EndReason>(header.value);
      if (channel->delivered) publishDelivered();
      // Where there is no local side yet, the agent that attaches one is told then.
      if (channel->end) close(*channel, channel->heard, true);
      activate(*channel);
      return true;
  }
  return false;
}

bool Session::deliver(Channel& channel, const FrameHeader& header, const std::byte* payload) {
  if ((header.flags & ~kFrameMore) != 0) return false;
  if (channel.closing != EndReason::none) return true;  // was under way when our side ended
  if (!channel.end) return false;
  fabric::Producer& out = channel.end->out;
  if (header.length > out.lengthMax()) return false;
  std::byte* place = out.loan(header.length);
  if (place == nullptr) {
    if (out.corruption() == Corruption::none) return false;  // the peer sent more than there was room for
    close(channel, EndReason::corrupt, false);
    return true;
  }
  std::memcpy(place, payload, header.length);
  out.commit(header.length, (header.flags & kFrameMore) != 0);
  stats_.recordsIn += 1;
  stats_.bytesIn += header.length;
  if (!channel.delivered) {
    channel.delivered = true;
    delivered_.push_back(&channel);
  }
  return true;
}

void Session::publishDelivered() {
  for (Channel* channel : delivered_) {
    channel->delivered = false;
    if (!channel->end) continue;
    if (channel->end->out.publish()) channel->end->bell.strike();
    activate(*channel);  // an answer may come soon
  }
  delivered_.clear();
}

}  // namespace shoal::relay
