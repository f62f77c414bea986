#pragma once

#include <atomic>
#include <cstdint>

namespace shoal::fabric {

/**
 * A 32-bit word that two processes share. 32 bits and not 64, so that JavaScript reads it by Atomics over an Int32Array
 * without a BigInt. Plain load and store are sequentially consistent, as all of JavaScript's Atomics are.
 */
class SharedWord {
 public:
  uint32_t load() const { return value_.load(std::memory_order_seq_cst); }
  uint32_t loadAcquire() const { return value_.load(std::memory_order_acquire); }
  void storeRelease(uint32_t value) { value_.store(value, std::memory_order_release); }
  void store(uint32_t value) { value_.store(value, std::memory_order_seq_cst); }
  uint32_t exchange(uint32_t value) { return value_.exchange(value, std::memory_order_seq_cst); }

 private:
  std::atomic<uint32_t> value_;
};

static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(SharedWord) == 4);

}  // namespace shoal::fabric
