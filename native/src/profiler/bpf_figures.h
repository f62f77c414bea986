#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "common/unique_fd.h"

/** Figures out of maps, and what the kernel counts of our own BPF programs. */
namespace shoal::profiler {

/** Of a per-CPU array of 64-bit counters: all of its `entries`, on all CPUs. One that cannot be read counts as 0. */
uint64_t sumOfCounters(const bpf_map* map, unsigned entries, size_t cpus);

/**
 * Takes all entries of a per-CPU hash whose keys are cgroups, in a few system calls: `take` gets the key and what each
 * CPU has of it. False and errno when the kernel refuses.
 */
template <typename Value>
bool readCgroups(const bpf_map* map, size_t cpus,
                 const std::function<void(uint64_t, const std::vector<Value>&)>& take) {
  static_assert(sizeof(Value) % sizeof(uint64_t) == 0, "the kernel lays values of CPUs out in steps of 8 bytes");
  uint32_t atOnce = 32;
  std::vector<uint64_t> keys;
  std::vector<Value> values;
  std::vector<Value> each(cpus);
  // The kernel's own place in the table: 4 bytes, but more may be written.
  uint64_t place = 0;
  for (bool first = true;;) {
    keys.resize(atOnce);
    values.resize(atOnce * cpus);
    uint32_t count = atOnce;
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    const int result = bpf_map_lookup_batch(bpf_map__fd(map), first ? nullptr : &place, &place, keys.data(),
                                            values.data(), &count, &options);
    // More entries than that have the same hash.
    if (result == -ENOSPC && atOnce < bpf_map__max_entries(map)) {
      atOnce *= 2;
      continue;
    }
    if (result != 0 && result != -ENOENT) {
      errno = -result;
      return false;
    }
    for (uint32_t i = 0; i < count; i += 1) {
      const auto from = values.begin() + static_cast<ptrdiff_t>(i * cpus);
      std::copy(from, from + static_cast<ptrdiff_t>(cpus), each.begin());
      take(keys[i], each);
    }
    if (result == -ENOENT) return true;
    first = false;
  }
}

/**
 * Has the kernel count runs and time of BPF programs while the descriptor is open; it is invalid where that is refused.
 * It costs each run of each program of the host two readings of a clock, so it is asked for only to be read.
 */
UniqueFd countRunTime();

/** How often the object's programs have run, and for how many ns; 0 while that is not counted. */
std::pair<uint64_t, uint64_t> runCost(const bpf_object* object);

}  // namespace shoal::profiler
