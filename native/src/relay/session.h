#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fabric/channel.h"
#include "relay/stream.h"
#include "relay/turn.h"

namespace shoal::relay {

/** A channel that has ended, for the agent. */
struct ChannelEnded {
  uint32_t channel;
  EndReason reason;
  /** Whether the peer's side ended first. */
  bool byPeer;
};

struct SessionStats {
  uint64_t recordsOut = 0;
  uint64_t recordsIn = 0;
  uint64_t bytesOut = 0;
  uint64_t bytesIn = 0;
};

/**
 * All channels between this host and another, multiplexed on one stream. Does no I/O on the network: a carrier does.
 *
 * A record is taken from a local ring only when the ring at the other end has room for it. This side knows by counting:
 * the peer's relay puts records into that ring as BasicProducer does, thus their places follow from their lengths, and
 * `released` frames tell what its consumer gave back. So what the stream brings always has its place, and one channel
 * that nobody reads holds up no other.
 */
class Session {
 public:
  explicit Session(Stream stream) : stream_(std::move(stream)) {}

  Stream& stream() { return stream_; }

  /** Takes the local side of a channel over. False with the reason when the number is taken or the ring too large. */
  bool attach(uint32_t number, fabric::ChannelEnd end, uint32_t ringBytes, std::string& problem);
  /** Ends a channel from this side, after what was sent so far. */
  void detach(uint32_t number, EndReason reason);

  /** Ends all that have a local side, which the peer is not told any more. */
  void endAll(EndReason reason);

  /** The descriptor that rings for a channel, to be waited for; -1 when there is none. */
  int listenFd(uint32_t number) const;
  /** Its bell may have rung. True: its local peer is gone, do not wait for it any more. */
  bool hear(uint32_t number);

  /** Puts what local instances sent into the stream, and gives room back. */
  Turn pump();
  /** Takes apart what has landed. `hostile`: the peer broke the protocol, end the connection. */
  Turn process();
  /** Before sleeping: asks all channels to strike their bells. False: there is something to do. */
  bool announceSleep();

  /** Channels that ended since the last call. */
  std::vector<ChannelEnded> takeEnded() { return std::exchange(ended_, {}); }
  size_t channels() const { return channels_.size(); }
  const SessionStats& stats() const { return stats_; }

 private:
  struct Channel {
    explicit Channel(uint32_t itsNumber) : number(itsNumber) {}
    uint32_t number;
    std::optional<fabric::ChannelEnd> end;
    /** Of the ring at the peer that takes our records, in words; 0 until it is open. */
    uint32_t peerWords = 0;
    uint32_t peerWritten = 0;
    uint32_t peerReleased = 0;
    /** Of our ring that takes the peer's records: what the peer knows to be given back. */
    uint32_t ownRingBytes = 0;
    uint32_t returned = 0;
    /** Taken from the local ring; there is no room for it yet. */
    std::optional<fabric::Record> held;
    EndReason closing = EndReason::none;
    bool openDue = false;
    bool closeSent = false;
    /** Why the peer closed; none until it has. */
    EndReason heard = EndReason::none;
    /** The local peer is gone: what it sent before still counts. */
    bool gone = false;
    /** Is in active_. */
    bool active = false;
    /** Has asked its local peer to strike. */
    bool asleep = false;
    /** Is in delivered_. */
    bool delivered = false;
  };

  enum class Sleep { asleep, waitsForStream, news };

  Channel* find(uint32_t number);
  void activate(Channel& channel);
  bool putControl(FrameKind kind, uint32_t number, uint32_t value);
  bool take(Channel& channel);
  bool takeOne(Channel& channel);
  void endUnopened(Channel& channel);
  bool peerHasRoom(const Channel& channel, uint32_t length) const;
  void countAtPeer(Channel& channel, uint32_t length);
  bool returnRoom(Channel& channel);
  bool servesControl(Channel& channel);
  void close(Channel& channel, EndReason reason, bool byPeer);
  bool apply(const FrameHeader& header, const std::byte* payload);
  bool deliver(Channel& channel, const FrameHeader& header, const std::byte* payload);
  void publishDelivered();
  Sleep fallAsleep(Channel& channel);

  Stream stream_;
  std::unordered_map<uint32_t, std::unique_ptr<Channel>> channels_;
  std::vector<Channel*> active_;
  std::vector<Channel*> delivered_;
  std::vector<ChannelEnded> ended_;
  SessionStats stats_;
};

}  // namespace shoal::relay
