/**
 * Stacks of watched cgroups: at every tick of a CPU's clock the stack of what runs there, added up by process and
 * stack. For a task that is not watched a tick costs one look into a hash table.
 */
/* The order matters: bpf_helpers.h uses the types of linux/bpf.h. */
// clang-format off
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
// clang-format on
#include "stacks.h"

#define KERNEL_BYTES (SHOAL_KERNEL_FRAMES_MAX * sizeof(shoal_u64))
#define USER_BYTES (SHOAL_USER_FRAMES_MAX * sizeof(shoal_u64))

/* The few fields needed of the kernel's structs; relocated at load time by the kernel's own BTF (CO-RE). */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
  int tgid;
  shoal_u64 start_boottime;
  shoal_u64 self_exec_id;
  struct task_struct* group_leader;
};
#pragma clang attribute pop

/** Cgroup id → 1. Being a key is what being watched means. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SHOAL_CGROUPS_MAX);
  __type(key, shoal_u64);
  __type(value, unsigned char);
} watched SEC(".maps");

/* Made in full when loaded: older kernels let programs of perf events use no other hash tables. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SHOAL_STACKS_MAX);
  __type(key, struct shoal_stack_key);
  __type(value, struct shoal_stack);
} stacks SEC(".maps");

/** A stack is too large for the BPF stack. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, unsigned int);
  __type(value, struct shoal_stack);
} scratch SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SHOAL_LOST_REASONS);
  __type(key, unsigned int);
  __type(value, shoal_u64);
} lost SEC(".maps");

static __always_inline void count_lost(unsigned int reason) {
  shoal_u64* counter = bpf_map_lookup_elem(&lost, &reason);
  if (counter) *counter += 1;
}

/** By the multiply-and-rotate step of FxHash, with a last mix: 64 bits of it tell the stacks of one process apart. */
static __always_inline shoal_u64 mix(shoal_u64 hash, shoal_u64 word) {
  return (((hash << 5) | (hash >> 59)) ^ word) * 0x517cc1b727220a95ULL;
}

static __always_inline shoal_u64 hash_frames(const struct shoal_stack* stack) {
  shoal_u64 hash = mix(stack->kernel_frames, stack->user_frames);
  for (unsigned int i = 0; i < SHOAL_KERNEL_FRAMES_MAX && i < stack->kernel_frames; i += 1)
    hash = mix(hash, stack->frames[i]);
  for (unsigned int i = 0; i < SHOAL_USER_FRAMES_MAX && i < stack->user_frames; i += 1)
    hash = mix(hash, stack->frames[SHOAL_KERNEL_FRAMES_MAX + i]);
  return hash ^ (hash >> 32);
}

static __always_inline unsigned int frames_of(long bytes) {
  return bytes > 0 ? (unsigned int)bytes / sizeof(shoal_u64) : 0;
}

SEC("perf_event")
int on_tick(struct bpf_perf_event_data* context) {
  const unsigned int zero = 0;
  const shoal_u64 cgroup = bpf_get_current_cgroup_id();
  if (!bpf_map_lookup_elem(&watched, &cgroup)) return 0;
  struct shoal_stack* stack = bpf_map_lookup_elem(&scratch, &zero);
  if (!stack) return 0;
  stack->kernel_frames = frames_of(bpf_get_stack(context, stack->frames, KERNEL_BYTES, 0));
  stack->user_frames =
      frames_of(bpf_get_stack(context, &stack->frames[SHOAL_KERNEL_FRAMES_MAX], USER_BYTES, BPF_F_USER_STACK));
  /* Each CPU has a period of its own: a sample stands for as long as that. */
  stack->count = 1;
  stack->nanoseconds = context->sample_period;

  struct task_struct* leader = BPF_CORE_READ((struct task_struct*)bpf_get_current_task(), group_leader);
  struct shoal_stack_key key = {
      .cgroup = cgroup,
      .start = BPF_CORE_READ(leader, start_boottime),
      .hash = hash_frames(stack),
      .pid = bpf_get_current_pid_tgid() >> 32,
      .image = BPF_CORE_READ(leader, self_exec_id),
      .kind = SHOAL_STACK_ON_CPU,
  };
  struct shoal_stack* known = bpf_map_lookup_elem(&stacks, &key);
  if (!known) {
    if (bpf_map_update_elem(&stacks, &key, stack, BPF_NOEXIST) == 0) return 0;
    /* Another CPU was first, or there is no place. */
    known = bpf_map_lookup_elem(&stacks, &key);
  }
  if (!known) {
    count_lost(SHOAL_LOST_FULL);
    return 0;
  }
  __sync_fetch_and_add(&known->count, 1);
  __sync_fetch_and_add(&known->nanoseconds, stack->nanoseconds);
  return 0;
}

char licence_text[] SEC("license") = "GPL";
