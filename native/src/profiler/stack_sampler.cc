#include "profiler/stack_sampler.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "profiler/bpf_figures.h"
#include "profiler/libbpf_log.h"
#include "stacks.skel.h"

namespace shoal::profiler {
namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
/** Periods differ by up to so many thousandths from clock to clock and from time to time, so that they fall in step
 * neither with each other nor with a load. */
constexpr uint64_t kJitterThousandths = 25;
/** Each drawing cuts a running period short, by half of it on average: of so many that is a thousandth. */
constexpr uint64_t kPeriodsPerDrawing = 500;
constexpr uint32_t kStacksAtOnce = 256;
/** Of all CPUs together: at some microseconds each a half of a hundredth of a core. */
constexpr double kWaitsPerSecond = 500;
constexpr double kOneInMax = 1'000'000;
/** A handful of waits in a shorter span than this says nothing of their rate. */
constexpr uint64_t kRateSpanNanoseconds = kNanosecondsPerSecond / 4;

uint64_t monotonicNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void StackSampler::Destroy::operator()(stacks_bpf* program) const { stacks_bpf__destroy(program); }
void StackSampler::Destroy::operator()(bpf_link* link) const { bpf_link__destroy(link); }

StackSampler::StackSampler() = default;
StackSampler::~StackSampler() = default;

Problem StackSampler::start(unsigned hertz, bool offCpu) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return {-cpus, "libbpf_num_possible_cpus"};
  cpus_ = static_cast<size_t>(cpus);
  if (const Problem problem = load(true)) {
    const std::string why = std::strerror(problem.number) + (": " + libbpfLog());
    keepLibbpfLog();
    if (const Problem without = load(false)) return without;
    unwindProblem_ = why;
  }
  meanPeriod_ = kNanosecondsPerSecond / hertz;
  periods_.resize(cpus_, meanPeriod_);
  for (int cpu = 0; cpu < cpus; cpu += 1) {
    if (const Problem problem = openClock(cpu)) return problem;
  }
  if (clocks_.empty()) return {ENODEV, "perf_event_open"};
  runClocks(false);
  if (const Problem problem = drawPeriods(monotonicNanoseconds())) return problem;
  if (offCpu) {
    switches_.reset(bpf_program__attach(program_->progs.on_switch));
    if (!switches_) return {errno, "bpf_raw_tracepoint_open"};
  }
  drainedNanoseconds_ = monotonicNanoseconds();
  return {};
}

Problem StackSampler::load(bool unwinds) {
  program_.reset(stacks_bpf__open());
  if (!program_) return {errno, "bpf_object__open"};
  // What the programs cannot reach, the kernel does not look at.
  program_->rodata->unwinds = unwinds;
  const int loaded = stacks_bpf__load(program_.get());
  return loaded == 0 ? Problem{} : Problem{-loaded, "bpf"};
}

UnwindMaps StackSampler::unwindMaps() const {
  if (!unwindProblem_.empty()) return {};
  return {bpf_map__fd(program_->maps.unwind_processes), bpf_map__fd(program_->maps.unwind_tables)};
}

Problem StackSampler::openClock(int cpu) {
  perf_event_attr clock = {};
  clock.size = sizeof clock;
  clock.type = PERF_TYPE_SOFTWARE;
  clock.config = PERF_COUNT_SW_CPU_CLOCK;
  clock.sample_period = meanPeriod_;
  clock.exclude_idle = 1;
  const auto fd = static_cast<int>(syscall(SYS_perf_event_open, &clock, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  if (fd < 0) {
    // This CPU is not on line.
    if (errno == ENODEV || errno == ENXIO) return {};
    return {errno, "perf_event_open"};
  }
  bpf_link* link = bpf_program__attach_perf_event(program_->progs.on_tick, fd);
  if (link == nullptr) {
    const int problem = errno;
    close(fd);
    return {problem, "bpf_link_create"};
  }
  clocks_.push_back({std::unique_ptr<bpf_link, Destroy>(link), fd, static_cast<size_t>(cpu)});
  return {};
}

uint64_t StackSampler::drawPeriod() {
  const uint64_t off = meanPeriod_ * kJitterThousandths / 1000;
  return std::uniform_int_distribution(meanPeriod_ - off, meanPeriod_ + off)(random_);
}

/** Whichever load happens to be in step with a clock is so until the next drawing only. */
Problem StackSampler::drawPeriods(uint64_t now) {
  periodsDrawnNanoseconds_ = now;
  for (const Clock& clock : clocks_) {
    uint64_t period = drawPeriod();
    if (ioctl(clock.fd, PERF_EVENT_IOC_PERIOD, &period) != 0) return {errno, "PERF_EVENT_IOC_PERIOD"};
    periods_[clock.cpu] = period;
  }
  const uint32_t only = 0;
  const int result = bpf_map__update_elem(program_->maps.periods, &only, sizeof only, periods_.data(),
                                          periods_.size() * sizeof(uint64_t), BPF_ANY);
  return result == 0 ? Problem{} : Problem{-result, "bpf_map_update_elem"};
}

/** They stand still while nothing is watched: an idle host is not woken for nothing. */
void StackSampler::runClocks(bool run) {
  for (const Clock& clock : clocks_) ioctl(clock.fd, run ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
}

Problem StackSampler::watch(uint64_t cgroup) {
  const unsigned char yes = 1;
  const int result =
      bpf_map__update_elem(program_->maps.watched, &cgroup, sizeof cgroup, &yes, sizeof yes, BPF_NOEXIST);
  if (result == -EEXIST) return {};
  if (result != 0) return {-result, "bpf_map_update_elem"};
  watching_ += 1;
  if (watching_ == 1) runClocks(true);
  return {};
}

void StackSampler::unwatch(uint64_t cgroup) {
  if (bpf_map__delete_elem(program_->maps.watched, &cgroup, sizeof cgroup, 0) != 0) return;
  watching_ -= 1;
  if (watching_ == 0) runClocks(false);
}

Problem StackSampler::drain(std::vector<Stack>& into) {
  const uint64_t now = monotonicNanoseconds();
  drawLots(now);
  countPushedOut();
  if (now - periodsDrawnNanoseconds_ >= kPeriodsPerDrawing * meanPeriod_) {
    if (const Problem problem = drawPeriods(now)) return problem;
  }
  keys_.resize(kStacksAtOnce);
  values_.resize(kStacksAtOnce);
  const int map = bpf_map__fd(program_->maps.stacks);
  // The kernel's own place in the table: 4 bytes, but more may be written.
  uint64_t place = 0;
  for (bool first = true;; first = false) {
    uint32_t count = kStacksAtOnce;
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    const int result = bpf_map_lookup_and_delete_batch(map, first ? nullptr : &place, &place, keys_.data(),
                                                       values_.data(), &count, &options);
    // ENOENT: that was the last of it. ENOSPC: one chain of the table is longer than there is room.
    if (result != 0 && result != -ENOENT) return {-result, "bpf_map_lookup_and_delete_batch"};
    for (uint32_t i = 0; i < count; i += 1) into.emplace_back(keys_[i], values_[i]);
    if (result == -ENOENT) return {};
  }
}

/** So many waits are looked at each second on average as kWaitsPerSecond says, going by what came since the last drain.
 */
void StackSampler::drawLots(uint64_t now) {
  const uint64_t seen = program_->bss->waits_seen;
  const uint64_t elapsed = std::max(now - drainedNanoseconds_, kRateSpanNanoseconds);
  const double rate = static_cast<double>(seen - waitsSeen_) * static_cast<double>(kNanosecondsPerSecond) /
                      static_cast<double>(elapsed);
  program_->data->waits_one_in = static_cast<uint32_t>(std::clamp(rate / kWaitsPerSecond, 1.0, kOneInMax));
  waitsSeen_ = seen;
  drainedNanoseconds_ = now;
  program_->bss->wait_stacks = 0;
}

/** The kernel does not say what it pushes out. More waits than there are places are that at least. */
void StackSampler::countPushedOut() {
  const uint64_t ended = program_->bss->waits_ended;
  const uint64_t begun = program_->bss->waits_begun;
  const uint64_t places = ended + SHOAL_WAITS_MAX;
  if (begun > places) waitsPushedOut_ = std::max(waitsPushedOut_, begun - places);
}

uint64_t StackSampler::lost() const {
  return sumOfCounters(program_->maps.lost, SHOAL_LOST_REASONS, cpus_) + waitsPushedOut_;
}

std::pair<uint64_t, uint64_t> StackSampler::cost() {
  if (!stats_.valid()) stats_ = countRunTime();
  return runCost(program_->obj);
}

}  // namespace shoal::profiler
