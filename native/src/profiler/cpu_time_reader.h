#pragma once

#include <cstdint>
#include <vector>

#include "profiler/cpu_time.h"

namespace shoal::profiler {

/**
 * Nanoseconds of a cgroup from what the maps held: its finished stretches on each CPU, plus those that last still.
 * `finished` was read before `running`, so a stretch that ended in between is missing until the next reading.
 */
uint64_t cpuNanoseconds(uint64_t cgroup, const std::vector<shoal_cpu_time>& finished,
                        const std::vector<shoal_running>& running, uint64_t nowNanoseconds);

}  // namespace shoal::profiler
