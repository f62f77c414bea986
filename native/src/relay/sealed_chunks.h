#pragma once

#include <cstdint>
#include <memory>

#include "relay/chunks.h"

namespace shoal::relay {

/** Secrets of one carrier, one for each direction. */
struct CarrierSecrets {
  crypto::Secret out;
  crypto::Secret in;
};

/** Of the stream in one sealed chunk; see crypto::kChunksPerKey. */
inline constexpr uint32_t kSealedBytesMax = 16u << 10;
inline constexpr size_t kSealedChunkBytesMax = sizeof(ChunkHeader) + kSealedBytesMax + crypto::kTagBytes;

/**
 * Reads by a buffer, and opens each whole chunk to its place in the stream. It has not landed before its tag was found
 * right. A header is believed only as a length to be read.
 */
class SealedReader final : public ChunkReader {
 public:
  explicit SealedReader(std::unique_ptr<crypto::ChunkCipher> cipher) : cipher_(std::move(cipher)) {}
  size_t helloTagBytes() const override { return crypto::kTagBytes; }
  bool proves(const Hello& hello, crypto::Tag& tag) override;
  int places(Stream& stream, iovec (&places)[2]) override;
  Took took(Stream& stream, size_t bytes) override;

 private:
  static constexpr size_t kBufferBytes = 8 * kSealedChunkBytesMax;

  Took open(Stream& stream, const ChunkHeader& header);

  std::unique_ptr<crypto::ChunkCipher> cipher_;
  std::unique_ptr<std::byte[]> buffer_ = std::make_unique<std::byte[]>(kBufferBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
};

/** Seals into a buffer, and sends that. */
class SealedWriter final : public ChunkWriter {
 public:
  explicit SealedWriter(std::unique_ptr<crypto::ChunkCipher> cipher) : cipher_(std::move(cipher)) {}
  std::optional<size_t> sign(const Hello& hello, crypto::Tag& tag) override;
  bool idle() const override { return sent_ == sealed_; }
  bool begin(Stream& stream, uint64_t processed) override;
  int places(Stream& stream, iovec (&places)[2]) override;
  void sent(Stream& stream, size_t bytes) override;

 private:
  static constexpr size_t kBufferBytes = 8 * kSealedChunkBytesMax;

  bool seal(Stream& stream, uint64_t processed);

  std::unique_ptr<crypto::ChunkCipher> cipher_;
  std::unique_ptr<std::byte[]> buffer_ = std::make_unique<std::byte[]>(kBufferBytes);
  size_t sealed_ = 0;
  size_t sent_ = 0;
};

}  // namespace shoal::relay
