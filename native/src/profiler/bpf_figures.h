#pragma once

#include <bpf/libbpf.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "common/unique_fd.h"

/** What the kernel counts of our own BPF programs. */
namespace shoal::profiler {

/** Of a per-CPU array of 64-bit counters: all of its `entries`, on all CPUs. One that cannot be read counts as 0. */
uint64_t sumOfCounters(const bpf_map* map, unsigned entries, size_t cpus);

/**
 * Has the kernel count runs and time of BPF programs while the descriptor is open; it is invalid where that is refused.
 * It costs each run of each program of the host two readings of a clock, so it is asked for only to be read.
 */
UniqueFd countRunTime();

/** How often the object's programs have run, and for how many ns; 0 while that is not counted. */
std::pair<uint64_t, uint64_t> runCost(const bpf_object* object);

}  // namespace shoal::profiler
