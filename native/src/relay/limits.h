#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "fabric/layout.h"
#include "relay/wire.h"

/** Every bound of the relay. */
namespace shoal::relay {

using Clock = std::chrono::steady_clock;
using Nanoseconds = std::chrono::nanoseconds;

/** Of the stream's memory in each direction of a connection. */
inline constexpr uint64_t kStreamBytesMin = 64u << 10;
inline constexpr uint64_t kStreamBytesMax = 64u << 20;
inline constexpr uint64_t kStreamBytesDefault = 4u << 20;

/** Channels of one connection, those included that only the peer has opened so far. */
inline constexpr size_t kChannelsMax = 65536;

/** What one channel may put into the stream before the others have their turn. */
inline constexpr uint32_t kTurnBytes = 64u << 10;
inline constexpr uint32_t kTurnRecords = 64;

/** Who says nothing for so long, or is not done with its hello, is dropped. */
inline constexpr std::chrono::milliseconds kHelloTime{5'000};
inline constexpr std::chrono::milliseconds kSilenceTime{5'000};
/** An idle carrier says that it is there. */
inline constexpr std::chrono::milliseconds kPingTime{1'000};
/** How long a token waits for the peer to dial. */
inline constexpr std::chrono::milliseconds kTokenTime{10'000};
/** So long nobody is accepted where there are no descriptors or memory to do so. */
inline constexpr std::chrono::milliseconds kListenPause{100};
/** Connections that have not shown a token yet. */
inline constexpr size_t kStrangersMax = 64;

/** The receiver acknowledges at the latest when so much of the stream's memory is processed. */
inline constexpr uint64_t kAcknowledgeShare = 8;

/** A record of a ring that is no longer than the stream's memory takes a quarter of it at most, header included. */
static_assert(fabric::kRingBytesMin <= kStreamBytesMin);

constexpr bool isStreamSize(uint64_t bytes) {
  return std::has_single_bit(bytes) && bytes >= kStreamBytesMin && bytes <= kStreamBytesMax;
}

}  // namespace shoal::relay
