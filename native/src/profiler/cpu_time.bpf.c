/**
 * Exact CPU time by cgroup v2: at every switch of tasks the time since the last one goes to the cgroup of the task that
 * ran, with what the kernel itself counts of a task: how long it had waited for the CPU before, as in
 * /proc/PID/schedstat, and its page faults, as in /proc/PID/stat. Only watched cgroups are counted; instances cannot
 * make cgroups of their own, so the task's own one is enough.
 */
/* The order matters: bpf_helpers.h uses the types of linux/bpf.h. */
// clang-format off
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on
#include "cpu_time.h"

#include "kernel_types.bpf.h"

/** Cgroup id → times on each CPU. Being a key is what being watched means. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SHOAL_CGROUPS_MAX);
  __type(key, shoal_u64);
  __type(value, struct shoal_cpu_time);
} cpu_time SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, unsigned int);
  __type(value, struct shoal_running);
} running SEC(".maps");

static __always_inline shoal_u64 waited_of(struct task_struct* task) {
  return bpf_core_field_exists(task->sched_info) ? task->sched_info.run_delay : 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_sched_switch, _Bool preempt, struct task_struct* before, struct task_struct* after) {
  const unsigned int zero = 0;
  struct shoal_running* here = bpf_map_lookup_elem(&running, &zero);
  if (!here) return 0;
  const shoal_u64 next = cgroup_of(after);
  struct shoal_cpu_time* watched = bpf_map_lookup_elem(&cpu_time, &next);
  if (!watched && here->cgroup == 0) return 0;

  const shoal_u64 now = bpf_ktime_get_ns();
  if (here->cgroup != 0) {
    const shoal_u64 previous = here->cgroup;
    struct shoal_cpu_time* total = bpf_map_lookup_elem(&cpu_time, &previous);
    if (total) {
      total->ran += now - here->since;
      /* The wait before this run was added to the task's own when the run began, after we had looked. */
      const shoal_u64 waited = waited_of(before);
      if (waited > here->waited) total->waited += waited - here->waited;
      total->faults_minor += before->min_flt - here->faults_minor;
      total->faults_major += before->maj_flt - here->faults_major;
    }
  }
  here->cgroup = watched ? next : 0;
  here->since = now;
  here->waited = waited_of(after);
  here->faults_minor = after->min_flt;
  here->faults_major = after->maj_flt;
  return 0;
}

char licence_text[] SEC("license") = "GPL";
