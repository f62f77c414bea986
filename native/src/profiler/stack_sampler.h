#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/unique_fd.h"
#include "profiler/problem.h"
#include "profiler/stacks.h"
#include "profiler/unwinder.h"

struct bpf_link;
struct stacks_bpf;

namespace shoal::profiler {

/** Takes stacks of the watched cgroups by a clock on each CPU. Not for two threads at once, but for watch and unwatch.
 */
class StackSampler {
 public:
  using Stack = std::pair<shoal_stack_key, shoal_stack>;

  StackSampler();
  ~StackSampler();
  /** `offCpu`: also what the cgroups wait in. */
  Problem start(unsigned hertz, bool offCpu);
  /** Why stacks are walked by frame pointers alone; empty where they are not. */
  const std::string& unwindProblem() const { return unwindProblem_; }
  /** For an Unwinder; it does nothing where the kernel has no such maps. */
  UnwindMaps unwindMaps() const;
  Problem watch(uint64_t cgroup);
  void unwatch(uint64_t cgroup);
  /** Takes out what was gathered since the last time. */
  Problem drain(std::vector<Stack>& into);
  /** Samples for which there was no place, since the start: those known to be at the last drain. */
  uint64_t lost() const;
  /** Of the BPF programs since it was first asked, as the kernel counts them: runs, and nanoseconds in all. */
  std::pair<uint64_t, uint64_t> cost();

 private:
  struct Destroy {
    void operator()(stacks_bpf* program) const;
    void operator()(bpf_link* link) const;
  };
  Problem load(bool unwinds);
  Problem openClock(int cpu);
  uint64_t drawPeriod();
  Problem drawPeriods(uint64_t now);
  void runClocks(bool run);
  void drawLots(uint64_t now);
  void countPushedOut();

  std::unique_ptr<stacks_bpf, Destroy> program_;
  /** A link owns the clock of its CPU: with it the clock goes. */
  struct Clock {
    std::unique_ptr<bpf_link, Destroy> link;
    int fd;
    size_t cpu;
  };
  std::vector<Clock> clocks_;
  /** In nanoseconds: by the rate, and that of each CPU now. */
  uint64_t meanPeriod_ = 0;
  std::vector<uint64_t> periods_;
  uint64_t periodsDrawnNanoseconds_ = 0;
  std::minstd_rand random_{std::random_device{}()};
  std::unique_ptr<bpf_link, Destroy> switches_;
  UniqueFd stats_;
  std::string unwindProblem_;
  size_t watching_ = 0;
  size_t cpus_ = 0;
  uint64_t waitsSeen_ = 0;
  uint64_t waitsPushedOut_ = 0;
  uint64_t drainedNanoseconds_ = 0;
  /** What the kernel fills, some at a time: kept, since to have half a megabyte mapped anew each second is dear. */
  std::vector<shoal_stack_key> keys_;
  std::vector<shoal_stack> values_;
};

}  // namespace shoal::profiler
