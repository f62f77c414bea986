#pragma once

#include <cassert>
#include <cstring>
#include <utility>

#include "relay/mirrored_buffer.h"
#include "relay/wire.h"

namespace shoal::relay {

/**
 * The two directions of a connection between hosts, as bytes with positions. What goes out stays here until the peer
 * says that it has processed it, so that any carrier can send it once more. Since both sides have the same memory, what
 * is not acknowledged always has its place at the peer: a receiver is never overrun.
 */
class Stream {
 public:
  Stream(MirroredBuffer out, MirroredBuffer in) : out_(std::move(out)), in_(std::move(in)) {
    assert(out_.bytes() == in_.bytes());
  }

  uint64_t bytes() const { return out_.bytes(); }
  const MirroredBuffer& out() const { return out_; }
  const MirroredBuffer& in() const { return in_; }

  // --- What goes out: acknowledged <= sent <= written.
  uint64_t written() const { return written_; }
  uint64_t sent() const { return sent_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t unsent() const { return written_ - sent_; }
  std::byte* sending() const { return out_.at(sent_); }
  /** A carrier that may still read what was acknowledged (its card does) keeps it from being overwritten. */
  void hold(uint64_t position) { held_ = position; }

  bool hasRoom(uint32_t length) const { return written_ + frameBytes(length) - kept() <= bytes(); }
  /** Place for a frame's payload; the caller fills it and calls put() with the same length. */
  std::byte* payload() { return out_.at(written_) + sizeof(FrameHeader); }
  void put(const FrameHeader& header) {
    assert(hasRoom(header.length));
    std::memcpy(out_.at(written_), &header, sizeof header);
    const uint64_t used = sizeof header + header.length;
    std::memset(out_.at(written_) + used, 0, frameBytes(header.length) - used);
    written_ += frameBytes(header.length);
  }
  void send(uint64_t bytes) {
    assert(bytes <= unsent());
    sent_ += bytes;
  }
  /** The peer has processed up to there; false when that cannot be. */
  [[nodiscard]] bool acknowledge(uint64_t position) {
    if (position < acknowledged_ || position > sent_) return false;
    acknowledged_ = position;
    return true;
  }
  /** A new carrier: the peer says up to where it has processed what others brought. False when that cannot be. */
  [[nodiscard]] bool resume(uint64_t position) {
    if (position < acknowledged_ || position > written_) return false;
    acknowledged_ = sent_ = position;
    return true;
  }

  // --- What comes in: processed <= landed.
  uint64_t processed() const { return processed_; }
  uint64_t landed() const { return landed_; }
  uint64_t landingRoom() const { return bytes() - (landed_ - processed_); }
  std::byte* landing() const { return in_.at(landed_); }
  void land(uint64_t bytes) {
    assert(bytes <= landingRoom());
    landed_ += bytes;
  }
  void process(uint64_t bytes) {
    assert(bytes <= landed_ - processed_);
    processed_ += bytes;
  }
  /** What came of a frame that is not whole goes: the next carrier begins with it. */
  void restart() {
    landed_ = processed_;
    held_ = UINT64_MAX;
  }

 private:
  uint64_t kept() const { return held_ < acknowledged_ ? held_ : acknowledged_; }

  MirroredBuffer out_;
  MirroredBuffer in_;
  uint64_t written_ = 0;
  uint64_t sent_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t held_ = UINT64_MAX;
  uint64_t processed_ = 0;
  uint64_t landed_ = 0;
};

}  // namespace shoal::relay
