#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "relay/crypto/chunk_cipher.h"
#include "relay/stream.h"

namespace shoal::relay {

/** On TCP the stream comes in chunks: this header, then `length` bytes of the stream; then a tag where it is sealed. */
struct ChunkHeader {
  uint32_t length;
  uint32_t unused;
  /** What the sender has processed of the other direction. */
  uint64_t processed;
};
static_assert(sizeof(ChunkHeader) == 16);

/** `forged`: it is not what the peer sent. `hostile`: it is, and breaks the protocol. */
enum class Took { sound, hostile, forged };

/** Takes chunks apart: chunks as they are (plain_chunks.h), or sealed (sealed_chunks.h). */
class ChunkReader {
 public:
  virtual ~ChunkReader() = default;
  /** Of the tag that comes after the peer's hello. */
  virtual size_t helloTagBytes() const = 0;
  /** Whether the hello is the peer's. */
  [[nodiscard]] virtual bool proves(const Hello& hello, crypto::Tag& tag) = 0;
  /** Places for what is read next, in order; at most two. */
  virtual int places(Stream& stream, iovec (&places)[2]) = 0;
  /** So many bytes were read into the places. */
  [[nodiscard]] virtual Took took(Stream& stream, size_t bytes) = 0;
};

/** Makes chunks. */
class ChunkWriter {
 public:
  virtual ~ChunkWriter() = default;
  /** Answers how many bytes of the tag come after the hello, which is said first; nothing when it cannot. */
  [[nodiscard]] virtual std::optional<size_t> sign(const Hello& hello, crypto::Tag& tag) = 0;
  /** Nothing that was begun is still to be sent. */
  virtual bool idle() const = 0;
  /** Chunks, one at least, of what is unsent, and of `processed`. False: libcrypto failed. */
  [[nodiscard]] virtual bool begin(Stream& stream, uint64_t processed) = 0;
  /** What is to be sent next, in order; at most two places. */
  virtual int places(Stream& stream, iovec (&places)[2]) = 0;
  virtual void sent(Stream& stream, size_t bytes) = 0;
};

}  // namespace shoal::relay
