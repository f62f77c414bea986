/**
 * Exact CPU time by cgroup v2: at every switch of tasks the time since the last one goes to the cgroup of the task that
 * ran. Only watched cgroups are counted; instances cannot make cgroups of their own, so the task's own one is enough.
 */
/* The order matters: bpf_helpers.h uses the types of linux/bpf.h. */
// clang-format off
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on
#include "cpu_time.h"

/* The few fields needed of the kernel's structs; relocated at load time by the kernel's own BTF (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernfs_node {
  shoal_u64 id;
};
struct cgroup {
  struct kernfs_node* kn;
};
struct css_set {
  struct cgroup* dfl_cgrp;
};
struct task_struct {
  struct css_set* cgroups;
};
#pragma clang attribute pop

/** Cgroup id → nanoseconds on each CPU. Being a key is what being watched means. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SHOAL_CGROUPS_MAX);
  __type(key, shoal_u64);
  __type(value, shoal_u64);
} cpu_time SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, unsigned int);
  __type(value, struct shoal_running);
} running SEC(".maps");

SEC("tp_btf/sched_switch")
int BPF_PROG(on_sched_switch, _Bool preempt, struct task_struct* before, struct task_struct* after) {
  const unsigned int zero = 0;
  struct shoal_running* here = bpf_map_lookup_elem(&running, &zero);
  if (!here) return 0;
  const shoal_u64 next = after->cgroups->dfl_cgrp->kn->id;
  shoal_u64* watched = bpf_map_lookup_elem(&cpu_time, &next);
  if (!watched && here->cgroup == 0) return 0;

  const shoal_u64 now = bpf_ktime_get_ns();
  if (here->cgroup != 0) {
    const shoal_u64 previous = here->cgroup;
    shoal_u64* total = bpf_map_lookup_elem(&cpu_time, &previous);
    if (total) *total += now - here->since;
  }
  here->cgroup = watched ? next : 0;
  here->since = now;
  return 0;
}

char licence_text[] SEC("license") = "GPL";
