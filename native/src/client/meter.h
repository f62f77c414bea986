#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace shoal::client {

/** What this instance has served since it started, as `InstanceStats` of protocol/control.ts wants it. */
struct Meter {
  static constexpr size_t kBuckets = 48;

  uint64_t arrived = 0;
  uint64_t finished = 0;
  uint64_t failed = 0;
  double busyMs = 0;
  std::array<uint64_t, kBuckets> latency{};

  uint64_t outstanding() const { return arrived - finished; }

  void end(bool ok, std::chrono::duration<double, std::milli> took) {
    finished += 1;
    failed += ok ? 0 : 1;
    busyMs += took.count();
    // Upper bound of bucket i: 0.1 ms × 2^(i/2).
    const double place = took.count() <= 0.1 ? 0 : std::ceil(2 * std::log2(took.count() / 0.1));
    latency[static_cast<size_t>(std::min<double>(kBuckets - 1, place))] += 1;
  }
};

}  // namespace shoal::client
