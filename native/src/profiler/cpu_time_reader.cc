#include "profiler/cpu_time_reader.h"

namespace shoal::profiler {

uint64_t cpuNanoseconds(uint64_t cgroup, const std::vector<shoal_cpu_time>& finished,
                        const std::vector<shoal_running>& running, uint64_t nowNanoseconds) {
  uint64_t sum = 0;
  for (const shoal_cpu_time& stretch : finished) sum += stretch.ran;
  for (const shoal_running& each : running) {
    if (each.cgroup == cgroup && each.since < nowNanoseconds) sum += nowNanoseconds - each.since;
  }
  return sum;
}

}  // namespace shoal::profiler
