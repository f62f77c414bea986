#pragma once

#include <bpf/libbpf.h>

#include <cstddef>
#include <cstdint>
#include <utility>

/** What the kernel counts of our own BPF programs. */
namespace shoal::profiler {

/** Of a per-CPU array of 64-bit counters: all of its `entries`, on all CPUs. One that cannot be read counts as 0. */
uint64_t sumOfCounters(const bpf_map* map, unsigned entries, size_t cpus);

/** How often the object's programs have run, and for how many ns; 0 while kernel.bpf_stats_enabled is off. */
std::pair<uint64_t, uint64_t> runCost(const bpf_object* object);

}  // namespace shoal::profiler
