#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "profiler/activity.h"
#include "profiler/problem.h"

struct activity_bpf;
struct bpf_link;
struct bpf_program;

namespace shoal::profiler {

/** What can be counted, each of it or not. */
inline constexpr const char* kPageFaults = "page faults by mapping";
inline constexpr const char* kSystemCalls = "system calls";
inline constexpr const char* kBlockIo = "block I/O";
inline constexpr const char* kNetworkBytes = "network bytes";
inline constexpr const char* kRetransmits = "TCP retransmits";
inline constexpr const char* kConnections = "TCP connections";

/** What the kernel does not let us count, and why. */
struct Missing {
  std::string what;
  std::string why;
};

/** Counts what watched cgroups do, in the kernel. Not for two threads at once. */
class ActivityCounter {
 public:
  using Detail = std::pair<shoal_detail_key, shoal_detail>;

  ActivityCounter();
  ~ActivityCounter();
  /** Starts all that this kernel can count. A problem only where it can count nothing. */
  Problem start(bool systemCalls);
  const std::vector<Missing>& missing() const { return missing_; }
  bool counts(const char* what) const;
  Problem watch(uint64_t cgroup);
  void unwatch(uint64_t cgroup);
  /** Of all that are watched, added up over the CPUs. */
  Problem read(std::map<uint64_t, shoal_activity>& into) const;
  /** All that is counted by itself, and taken out of the kernel. */
  Problem drain(std::vector<Detail>& into);
  /** Things that found no place, since the start. */
  uint64_t lost() const;
  /** Of the BPF programs, as the kernel counts them: runs, and nanoseconds in all. */
  std::pair<uint64_t, uint64_t> cost() const;

 private:
  struct Group;
  struct Destroy {
    void operator()(activity_bpf* program) const;
    void operator()(bpf_link* link) const;
  };
  using Programs = std::unique_ptr<activity_bpf, Destroy>;
  static const std::vector<Group>& groups();
  static Problem load(const std::vector<const Group*>& wanted, Programs& into);
  const Group* loadable(const Group* group);
  Problem attach(const Group& group);
  /** The kernel's count of one kind of page faults on one CPU. */
  struct FaultCount {
    int fd = -1;
    uint64_t counted = 0;
    uint64_t period = 1;
  };
  Problem countFaults(bpf_program* program, uint64_t event);
  void drawFaults();

  Programs programs_;
  std::vector<std::unique_ptr<bpf_link, Destroy>> links_;
  std::vector<FaultCount> faultCounts_;
  uint64_t drainedNanoseconds_ = 0;
  std::vector<Missing> missing_;
  bool systemCalls_ = false;
  size_t cpus_ = 0;
};

}  // namespace shoal::profiler
