#include "profiler/activity_counter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "activity.skel.h"
#include "common/unique_fd.h"
#include "profiler/bpf_figures.h"
#include "profiler/libbpf_log.h"

namespace shoal::profiler {
namespace {

constexpr uint32_t kDetailsAtOnce = 256;
/** On each CPU: at two to four microseconds each less than a tenth of a hundredth of it. */
constexpr uint64_t kFaultsPerSecond = 200;
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
/** A handful of faults in a shorter span than this says nothing of their rate. */
constexpr uint64_t kRateSpanNanoseconds = kNanosecondsPerSecond / 4;

uint64_t monotonicNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

/** Programs that are there together or not at all. */
struct ActivityCounter::Group {
  const char* what;
  std::vector<const char*> programs;
  /** In their place, where the kernel lacks what they are attached to. */
  const Group* instead = nullptr;
};

const std::vector<ActivityCounter::Group>& ActivityCounter::groups() {
  static const Group networkByFunction = {
      kNetworkBytes, {"on_sent_ipv4", "on_sent_ipv6", "on_sent_page", "on_received_ipv4", "on_received_ipv6"}};
  static const std::vector<Group> all = {
      {kPageFaults, {"on_minor_fault", "on_major_fault"}},
      {kSystemCalls, {"on_call", "on_return"}},
      {kBlockIo, {"on_io", "on_bio_done", "on_request_done"}},
      {kNetworkBytes, {"on_sent", "on_received"}, &networkByFunction},
      {kRetransmits, {"on_retransmit"}},
      {kConnections, {"on_state"}},
  };
  return all;
}

void ActivityCounter::Destroy::operator()(activity_bpf* program) const { activity_bpf__destroy(program); }
void ActivityCounter::Destroy::operator()(bpf_link* link) const { bpf_link__destroy(link); }

ActivityCounter::ActivityCounter() = default;
ActivityCounter::~ActivityCounter() = default;

Problem ActivityCounter::load(const std::vector<const Group*>& wanted, Programs& into) {
  into.reset(activity_bpf__open());
  if (!into) return {errno, "bpf_object__open"};
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, into->obj) {
    const std::string name = bpf_program__name(each);
    const bool isWanted = std::any_of(wanted.begin(), wanted.end(), [&](const Group* group) {
      return std::find(group->programs.begin(), group->programs.end(), name) != group->programs.end();
    });
    bpf_program__set_autoload(each, isWanted);
  }
  const int loaded = activity_bpf__load(into.get());
  return loaded == 0 ? Problem{} : Problem{-loaded, "bpf"};
}

/** Mostly all load at once; only where they do not is each asked for by itself. */
Problem ActivityCounter::start(bool systemCalls) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return {-cpus, "libbpf_num_possible_cpus"};
  cpus_ = static_cast<size_t>(cpus);
  systemCalls_ = systemCalls;
  std::vector<const Group*> wanted;
  for (const Group& group : groups()) {
    if (systemCalls || std::strcmp(group.what, kSystemCalls) != 0) wanted.push_back(&group);
  }
  Problem problem = load(wanted, programs_);
  if (problem) {
    for (const Group*& group : wanted) group = loadable(group);
    std::erase(wanted, nullptr);
    if (wanted.empty()) return problem;
    problem = load(wanted, programs_);
    if (problem) return problem;
  }
  for (const Group* group : wanted) {
    if (const Problem why = attach(*group))
      missing_.push_back({group->what, why.call + ": " + std::strerror(why.number)});
  }
  drainedNanoseconds_ = monotonicNanoseconds();
  return links_.empty() ? Problem{ENOTSUP, "bpf_link_create"} : Problem{};
}

/** The group, or what stands in for it; null where neither can be loaded. */
const ActivityCounter::Group* ActivityCounter::loadable(const Group* group) {
  std::string why;
  for (const Group* each = group; each != nullptr; each = each->instead) {
    keepLibbpfLog();
    Programs alone;
    const Problem problem = load({each}, alone);
    if (!problem) return each;
    if (why.empty()) why = std::strerror(problem.number) + (": " + libbpfLog());
  }
  missing_.push_back({group->what, why});
  return nullptr;
}

Problem ActivityCounter::attach(const Group& group) {
  for (const char* name : group.programs) {
    bpf_program* program = bpf_object__find_program_by_name(programs_->obj, name);
    if (program == programs_->progs.on_minor_fault || program == programs_->progs.on_major_fault) {
      const bool isMinor = program == programs_->progs.on_minor_fault;
      const auto event = isMinor ? PERF_COUNT_SW_PAGE_FAULTS_MIN : PERF_COUNT_SW_PAGE_FAULTS_MAJ;
      if (const Problem problem = countFaults(program, event)) return problem;
      continue;
    }
    bpf_link* link = bpf_program__attach(program);
    if (link == nullptr) return {errno, "bpf_raw_tracepoint_open"};
    links_.emplace_back(link);
  }
  return {};
}

/** The kernel's own count of faults, on each CPU; the program runs at each one. */
Problem ActivityCounter::countFaults(bpf_program* program, uint64_t event) {
  for (int cpu = 0; cpu < static_cast<int>(cpus_); cpu += 1) {
    perf_event_attr count = {};
    count.size = sizeof count;
    count.type = PERF_TYPE_SOFTWARE;
    count.config = event;
    count.sample_period = 1;
    count.sample_type = PERF_SAMPLE_ADDR;
    UniqueFd fd(static_cast<int>(syscall(SYS_perf_event_open, &count, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
    if (!fd.valid()) {
      // This CPU is not on line.
      if (errno == ENODEV || errno == ENXIO) continue;
      return {errno, "perf_event_open"};
    }
    bpf_link* link = bpf_program__attach_perf_event(program, fd.get());
    if (link == nullptr) return {errno, "bpf_link_create"};
    // The link owns the event from here on.
    faultCounts_.push_back({fd.release()});
    links_.emplace_back(link);
  }
  return {};
}

/**
 * The kernel counts every fault, which costs next to nothing; the program runs at one in so many, going by how many
 * came since the last drain.
 */
void ActivityCounter::drawFaults() {
  const uint64_t now = monotonicNanoseconds();
  const uint64_t elapsed = std::max(now - drainedNanoseconds_, kRateSpanNanoseconds);
  drainedNanoseconds_ = now;
  for (FaultCount& each : faultCounts_) {
    uint64_t counted = 0;
    if (::read(each.fd, &counted, sizeof counted) != sizeof counted) continue;
    const double rate = static_cast<double>(counted - each.counted) * static_cast<double>(kNanosecondsPerSecond) /
                        static_cast<double>(elapsed);
    each.counted = counted;
    const auto period = static_cast<uint64_t>(std::max(rate / static_cast<double>(kFaultsPerSecond), 1.0));
    if (period != each.period && ioctl(each.fd, PERF_EVENT_IOC_PERIOD, &period) == 0) each.period = period;
  }
}

bool ActivityCounter::counts(const char* what) const {
  if (!systemCalls_ && std::strcmp(what, kSystemCalls) == 0) return false;
  return std::none_of(missing_.begin(), missing_.end(), [what](const Missing& each) { return each.what == what; });
}

Problem ActivityCounter::watch(uint64_t cgroup) {
  const std::vector<shoal_activity> zeros(cpus_);
  const int result = bpf_map__update_elem(programs_->maps.activity, &cgroup, sizeof cgroup, zeros.data(),
                                          zeros.size() * sizeof(shoal_activity), BPF_NOEXIST);
  if (result != 0 && result != -EEXIST) return {-result, "bpf_map_update_elem"};
  return {};
}

void ActivityCounter::unwatch(uint64_t cgroup) {
  bpf_map__delete_elem(programs_->maps.activity, &cgroup, sizeof cgroup, 0);
}

Problem ActivityCounter::read(std::map<uint64_t, shoal_activity>& into) const {
  static_assert(sizeof(shoal_activity) % sizeof(shoal_u64) == 0, "made of nothing but counters");
  constexpr size_t kCounters = sizeof(shoal_activity) / sizeof(shoal_u64);
  using Counters = std::array<shoal_u64, kCounters>;
  const auto add = [&into](uint64_t cgroup, const std::vector<shoal_activity>& values) {
    Counters total = {};
    for (const shoal_activity& value : values) {
      const auto counters = std::bit_cast<Counters>(value);
      for (size_t i = 0; i < kCounters; i += 1) total[i] += counters[i];
    }
    into[cgroup] = std::bit_cast<shoal_activity>(total);
  };
  const bool isRead = readCgroups<shoal_activity>(programs_->maps.activity, cpus_, add);
  return isRead ? Problem{} : Problem{errno, "bpf_map_lookup_batch"};
}

Problem ActivityCounter::drain(std::vector<Detail>& into) {
  drawFaults();
  std::vector<shoal_detail_key> keys(kDetailsAtOnce);
  std::vector<shoal_detail> values(kDetailsAtOnce);
  const int map = bpf_map__fd(programs_->maps.details);
  // The kernel's own place in the table: 4 bytes, but more may be written.
  uint64_t place = 0;
  for (bool first = true;; first = false) {
    uint32_t count = kDetailsAtOnce;
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    const int result = bpf_map_lookup_and_delete_batch(map, first ? nullptr : &place, &place, keys.data(),
                                                       values.data(), &count, &options);
    if (result != 0 && result != -ENOENT) return {-result, "bpf_map_lookup_and_delete_batch"};
    for (uint32_t i = 0; i < count; i += 1) into.emplace_back(keys[i], values[i]);
    if (result == -ENOENT) return {};
  }
}

uint64_t ActivityCounter::lost() const {
  return sumOfCounters(programs_->maps.activity_lost, SHOAL_ACTIVITY_LOST_REASONS, cpus_);
}

std::pair<uint64_t, uint64_t> ActivityCounter::cost() const { return runCost(programs_->obj); }

}  // namespace shoal::profiler
