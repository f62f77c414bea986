#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "relay/crypto/library.h"

namespace shoal::relay::crypto {

inline constexpr size_t kSecretBytes = 32;
inline constexpr size_t kTagBytes = 16;
using Secret = std::array<uint8_t, kSecretBytes>;
using Tag = std::array<uint8_t, kTagBytes>;

/**
 * After so many chunks the key is replaced. RFC 8446, 5.5, allows 2^24.5 records of 2^14 bytes under one AES-GCM key,
 * and ours are no longer than those.
 */
inline constexpr uint64_t kChunksPerKey = 1u << 24;

/**
 * Seals or opens the chunks of one direction of one carrier, one after the other: AES-256-GCM, where the nonce is the
 * number of the chunk under its key. So a chunk that was changed, left out, said twice or in another order opens no
 * more. The secret is for this carrier and direction alone. Keys follow from it, each by HMAC-SHA256 from the one
 * before, which is forgotten: both ends count chunks, and nothing has to be said.
 */
class ChunkCipher {
 public:
  enum class Way { seals, opens };

  /** nullptr with the reason when there is no libcrypto. `chunksPerKey` is for tests. */
  static std::unique_ptr<ChunkCipher> create(Way way, const Secret& secret, std::string& problem,
                                             uint64_t chunksPerKey = kChunksPerKey);
  ChunkCipher(const ChunkCipher&) = delete;
  ChunkCipher& operator=(const ChunkCipher&) = delete;
  ~ChunkCipher();

  /**
   * The next chunk: `in` to `out`, both of `bytes`; `open` bytes are authenticated with it. Sealing sets the tag,
   * opening looks at it. False: it is forged, or libcrypto failed; then `out` holds nothing of meaning and no chunk
   * comes after.
   */
  [[nodiscard]] bool next(const void* open, size_t openBytes, const std::byte* in, size_t bytes, std::byte* out,
                          Tag& tag);

 private:
  ChunkCipher(const Library& library, Way way, const Secret& secret, uint64_t chunksPerKey);

  bool takeNextKey();
  bool derive(const char* what, Secret& out) const;

  const Library& library_;
  Way way_;
  uint64_t chunksPerKey_;
  /** From which the keys after this one follow. */
  Secret secret_;
  uint64_t chunk_ = 0;
  CipherContext* context_;
  bool broken_ = false;
};

}  // namespace shoal::relay::crypto
