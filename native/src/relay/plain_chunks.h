#pragma once

#include <cstdint>
#include <memory>

#include "relay/chunks.h"

namespace shoal::relay {

/**
 * What belongs to the chunk that has begun is read to its place in the stream; what comes after it, and short chunks
 * altogether, go by a buffer, so that a short message costs one call.
 */
class PlainReader final : public ChunkReader {
 public:
  size_t helloTagBytes() const override { return 0; }
  bool proves(const Hello&, crypto::Tag&) override { return true; }
  int places(Stream& stream, iovec (&places)[2]) override;
  Took took(Stream& stream, size_t bytes) override;

 private:
  static constexpr size_t kBufferBytes = 64u << 10;

  bool takeHeader(Stream& stream);

  std::unique_ptr<std::byte[]> buffer_ = std::make_unique<std::byte[]>(kBufferBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
  /** Of the chunk that has begun. */
  uint32_t left_ = 0;
};

/** Sends from the stream's own memory. */
class PlainWriter final : public ChunkWriter {
 public:
  std::optional<size_t> sign(const Hello&, crypto::Tag&) override { return 0; }
  bool idle() const override { return sent_ == sizeof chunk_ + chunk_.length; }
  bool begin(Stream& stream, uint64_t processed) override;
  int places(Stream& stream, iovec (&places)[2]) override;
  void sent(Stream& stream, size_t bytes) override;

 private:
  /** What goes between two looks at the other direction. */
  static constexpr uint32_t kChunkBytesMax = 256u << 10;

  ChunkHeader chunk_ = {};
  /** Of the chunk under way, header included. */
  size_t sent_ = sizeof(ChunkHeader);
};

}  // namespace shoal::relay
