#include "profiler/bpf_figures.h"

#include <bpf/bpf.h>

#include <vector>

namespace shoal::profiler {

uint64_t sumOfCounters(const bpf_map* map, unsigned entries, size_t cpus) {
  uint64_t sum = 0;
  std::vector<uint64_t> values(cpus, 0);
  for (unsigned entry = 0; entry < entries; entry += 1) {
    const int result =
        bpf_map__lookup_elem(map, &entry, sizeof entry, values.data(), values.size() * sizeof(uint64_t), 0);
    for (const uint64_t value : values) sum += result == 0 ? value : 0;
  }
  return sum;
}

std::pair<uint64_t, uint64_t> runCost(const bpf_object* object) {
  uint64_t runs = 0;
  uint64_t nanoseconds = 0;
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, object) {
    bpf_prog_info info = {};
    uint32_t size = sizeof info;
    if (!bpf_program__autoload(each) || bpf_obj_get_info_by_fd(bpf_program__fd(each), &info, &size) != 0) continue;
    runs += info.run_cnt;
    nanoseconds += info.run_time_ns;
  }
  return {runs, nanoseconds};
}

UniqueFd countRunTime() { return UniqueFd(bpf_enable_stats(BPF_STATS_RUN_TIME)); }

}  // namespace shoal::profiler
