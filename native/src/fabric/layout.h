#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "fabric/shared_word.h"

/**
 * What a channel looks like in memory: one page of control words, then the bytes of its two rings. native/ring.ts uses
 * the same numbers; docs/fabric.md explains them. Little-endian.
 */
namespace shoal::fabric {

static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kMagic = 0x4c414853;  // "SHAL"
/** 2: padding may be longer than a record. */
inline constexpr uint32_t kVersion = 2;
inline constexpr uint32_t kHeaderBytes = 4096;
inline constexpr uint32_t kRingBytesMin = 4096;
inline constexpr uint32_t kRingBytesMax = 1u << 29;

/** Positions count words of 8 bytes. They only grow, modulo 2^32, which is 32 GiB: far more than any ring holds. */
inline constexpr uint32_t kWordBytes = 8;

/** Two lines, because processors fetch neighbouring lines in pairs. */
inline constexpr size_t kLineBytes = 128;

/** What the two ends of one ring tell each other. Each word has one line and one writer, except for clearing a flag. */
template <class Word>
struct RingControl {
  /** Words published so far; the producer's. Who looks for records does not need it: their headers tell. */
  alignas(kLineBytes) Word tail;
  /** Words given back so far; the consumer's. */
  alignas(kLineBytes) Word head;
  /** 1 while the consumer sleeps until there is a record. Whoever takes it back to 0 strikes the bell. */
  alignas(kLineBytes) Word consumerSleeps;
  /** 1 while the producer sleeps until there is room. */
  alignas(kLineBytes) Word producerSleeps;
};

/** Says what a file is. Written once, by who creates it. */
struct SegmentStamp {
  uint32_t magic;
  uint32_t version;
  uint32_t ringBytes;
};

/** The first page of a segment. */
struct SegmentHeader {
  SegmentStamp stamp;
  alignas(kLineBytes) RingControl<SharedWord> rings[2];
};

static_assert(sizeof(SegmentHeader) == 9 * kLineBytes && sizeof(SegmentHeader) <= kHeaderBytes);
static_assert(offsetof(SegmentHeader, rings) == kLineBytes);

/**
 * Precedes the bytes of each record, at a multiple of 8 bytes. The first word is 0 as long as there is no record, and
 * the length with these flags when there is one; the second is unused, so that the bytes are aligned.
 */
struct RecordHeader {
  uint32_t state;
  uint32_t unused;
};

inline constexpr uint32_t kFlagPresent = 1u << 31;
/** The message goes on in the next record. */
inline constexpr uint32_t kFlagMore = 1u << 30;
/** No record: fills the ring up to its end, because a record never wraps. */
inline constexpr uint32_t kFlagPadding = 1u << 29;
/** Of the bytes that follow, without what rounds them up to words. */
inline constexpr uint32_t kLengthMask = kFlagPadding - 1;

static_assert(sizeof(RecordHeader) == kWordBytes && kRingBytesMax - kWordBytes <= kLengthMask);

/** Words that a record of so many bytes takes with its header. */
constexpr uint32_t recordWords(uint32_t length) { return 1 + length / kWordBytes + (length % kWordBytes != 0 ? 1 : 0); }

/**
 * The longest record: with its header a quarter of the ring. Then a record and the padding before it take less than
 * half, so that one always fits into a ring that is half empty, and the two ends work at the same time on large
 * messages too.
 */
constexpr uint32_t recordBytesMax(uint32_t ringBytes) { return ringBytes / 4 - kWordBytes; }

/**
 * After so many words a producer looks whether it can go back to the ring's begin. What it writes there goes fastest in
 * the few lines that it has just written and the consumer just read; more of them were slower at each doubling.
 */
inline constexpr uint32_t kLapWords = 256 / kWordBytes;

constexpr bool isRingSize(uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes >= kRingBytesMin && bytes <= kRingBytesMax;
}

/** Of the file behind a channel. */
constexpr uint64_t segmentBytes(uint32_t ringBytes) { return kHeaderBytes + 2 * static_cast<uint64_t>(ringBytes); }

}  // namespace shoal::fabric
