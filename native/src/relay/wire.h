#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/**
 * What relays say to each other, docs/fabric.md "Between hosts". Little-endian.
 *
 * Each direction between two hosts is one stream of bytes with positions that only grow: frames, one after the other. A
 * carrier (TCP, verbs) moves bytes of the stream, and at its start each side says up to where it has the other's
 * stream. Thus a carrier may end anywhere and another goes on: nothing is lost and nothing comes twice.
 */
namespace shoal::relay {

static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kHelloMagic = 0x52414853;  // "SHAR"
inline constexpr uint32_t kProtocolVersion = 1;
inline constexpr size_t kTokenBytes = 32;

/** The first bytes of a carrier, in both directions. */
struct Hello {
  uint32_t magic = kHelloMagic;
  uint32_t version = kProtocolVersion;
  /** Of the sender's memory for each direction; both sides must have the same. */
  uint64_t streamBytes = 0;
  /** Up to where the sender has processed the receiver's stream: what it is to be sent next. */
  uint64_t processed = 0;
  /** A random number for one use, which the agents gave each other over their own link. Zeros where there is no need.
   */
  uint8_t token[kTokenBytes] = {};
};
static_assert(sizeof(Hello) == 56);

enum class FrameKind : uint16_t {
  /** A record for the channel; `value` is unused. */
  record = 1,
  /** The sender has a side of the channel; `value` is the bytes of the ring that takes the receiver's records. */
  open = 2,
  /** `value` is the position up to which that ring has been given back. */
  released = 3,
  /** The sender's side has ended; `value` is the EndReason. */
  close = 4,
};

/** Precedes each frame, at a multiple of 8 bytes of the stream; `length` bytes follow, and zeros up to the next one. */
struct FrameHeader {
  uint32_t length;
  FrameKind kind;
  /** kFrameMore or 0. */
  uint16_t flags;
  uint32_t channel;
  uint32_t value;
};
static_assert(sizeof(FrameHeader) == 16);

/** The message goes on in the channel's next record. */
inline constexpr uint16_t kFrameMore = 1;
inline constexpr uint64_t kFrameAlign = 8;

constexpr uint64_t frameBytes(uint32_t length) {
  return (sizeof(FrameHeader) + length + kFrameAlign - 1) / kFrameAlign * kFrameAlign;
}

/** Why a channel or a connection ended. The numbers go over the wire. */
enum class EndReason : uint32_t {
  none = 0,
  /** The process that held the channel's other end is gone. */
  ended = 1,
  /** That process broke its ring. */
  corrupt = 2,
  /** A record is longer than the peer's ring takes. */
  tooLong = 3,
  /** The agent asked for it. */
  detached = 4,
  /** The peer's relay broke the protocol. */
  protocol = 5,
  /** No carrier for longer than the deadline. */
  unreachable = 6,
  /** The relay itself was closed. */
  closed = 7,
  /** Of a carrier alone, and never sent: what came was not what the peer sent. Another carrier is made. */
  forged = 8,
};
/** What may come over the wire. */
inline constexpr uint32_t kEndReasonMax = 7;

}  // namespace shoal::relay
