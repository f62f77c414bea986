#pragma once

#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace shoal::fabric {

/**
 * Copies into a loan past the caches, for large records: the consumer's processor then reads from memory what it would
 * else pull out of ours line by line, which is many times slower where the two share no close cache. `to` is a multiple
 * of 8.
 */
inline void copyStreaming(std::byte* to, const void* from, size_t length) {
#if defined(__x86_64__)
  constexpr size_t kStep = sizeof(__m128i);
  const auto* source = static_cast<const std::byte*>(from);
  const size_t head = reinterpret_cast<size_t>(to) % kStep;
  if (length >= 2 * kStep) {
    std::memcpy(to, source, head);
    size_t done = head;
    for (; done + kStep <= length; done += kStep) {
      const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + done));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + done), chunk);
    }
    std::memcpy(to + done, source + done, length - done);
    // These stores keep no order with later ones: without this the header could be seen before the bytes.
    _mm_sfence();
    return;
  }
#endif
  std::memcpy(to, from, length);
}

}  // namespace shoal::fabric
