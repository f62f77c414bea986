#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>

#include "relay/stream.h"

namespace shoal::relay {

/** On TCP the stream comes in chunks: this header, then `length` bytes of the stream. */
struct ChunkHeader {
  uint32_t length;
  uint32_t unused;
  /** What the sender has processed of the other direction. */
  uint64_t processed;
};
static_assert(sizeof(ChunkHeader) == 16);

/**
 * Takes chunks apart. What belongs to the chunk that has begun is read to its place in the stream; what comes after it,
 * and short chunks altogether, go by a buffer, so that a short message costs one call.
 */
class ChunkReader {
 public:
  /** Places for what is read next, in order; at most two. */
  int places(Stream& stream, iovec (&places)[2]);
  /** So many bytes were read into the places. False: the peer broke the protocol. */
  [[nodiscard]] bool took(Stream& stream, size_t bytes);

 private:
  static constexpr size_t kBufferBytes = 64u << 10;

  bool takeHeader(Stream& stream);

  std::unique_ptr<std::byte[]> buffer_ = std::make_unique<std::byte[]>(kBufferBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
  /** Of the chunk that has begun. */
  uint32_t left_ = 0;
};

}  // namespace shoal::relay
