/**
 * Stacks of watched cgroups, added up by process and stack: at every tick of a CPU's clock the stack of what runs
 * there; and where a task goes to sleep its stack, with the time until it runs again. For a task that is not watched
 * both cost one look into a hash table.
 *
 * Some loads go to sleep a hundred thousand times a second, and each stack costs a microsecond or two. Then user space
 * has only one of so many waits looked at, drawn by lot, and each stands for as many.
 */
/* The order matters: bpf_helpers.h uses the types of linux/bpf.h. */
// clang-format off
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
// clang-format on
#include "stacks.h"

#include "kernel_types.bpf.h"

#define KERNEL_BYTES (SHOAL_KERNEL_FRAMES_MAX * sizeof(shoal_u64))
#define USER_BYTES (SHOAL_USER_FRAMES_MAX * sizeof(shoal_u64))

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

/** Of each CPU's clock, in nanoseconds: a sample stands for as long as that. Written by user space. The context of a
 * tick says the period that the clock was opened with, also when it has another one since. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, unsigned int);
  __type(value, shoal_u64);
} periods SEC(".maps");

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

/** By thread. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SHOAL_WAITS_MAX);
  __type(key, int);
  __type(value, struct shoal_wait);
} waits SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, unsigned int);
  __type(value, struct shoal_wait);
} wait_scratch SEC(".maps");

#include "unwind.bpf.h"

/** One of so many waits is looked at; written by user space once it knows how many there are. */
volatile unsigned int waits_one_in = 16;
/** Waits of watched tasks, looked at or not. */
shoal_u64 waits_seen = 0;
/** Of those looked at how many have found a place in `waits`, and how many of these have ended: more push out others.
 */
shoal_u64 waits_begun = 0;
shoal_u64 waits_ended = 0;
/** Different stacks of waits since the last drain, by which user space sets it to 0. */
volatile unsigned int wait_stacks = 0;

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

/** Adds to what is known of the stack. */
static __always_inline void add(const struct shoal_stack_key* key, const struct shoal_stack* stack) {
  struct shoal_stack* known = bpf_map_lookup_elem(&stacks, key);
  const _Bool is_wait = key->kind == SHOAL_STACK_OFF_CPU;
  if (!known && !(is_wait && wait_stacks >= SHOAL_WAIT_STACKS_MAX)) {
    if (bpf_map_update_elem(&stacks, key, stack, BPF_NOEXIST) == 0) {
      if (is_wait) __sync_fetch_and_add(&wait_stacks, 1);
      return;
    }
    /* Another CPU was first, or there is no place. */
    known = bpf_map_lookup_elem(&stacks, key);
  }
  if (!known) {
    count_lost(SHOAL_LOST_FULL);
    return;
  }
  __sync_fetch_and_add(&known->count, stack->count);
  __sync_fetch_and_add(&known->nanoseconds, stack->nanoseconds);
}

static __always_inline unsigned int frames_of(long bytes) {
  return bytes > 0 ? (unsigned int)bytes / sizeof(shoal_u64) : 0;
}

/** The stack of the current task. */
static __always_inline void take_frames(void* context, struct shoal_stack* stack, unsigned int is_wait) {
  stack->kernel_frames = frames_of(bpf_get_stack(context, stack->frames, KERNEL_BYTES, 0));
  stack->user_frames = unwinds ? walk_by_tables(bpf_get_current_task_btf(), is_wait) : 0;
  if (stack->user_frames > 0) return;
  stack->user_frames =
      frames_of(bpf_get_stack(context, &stack->frames[SHOAL_KERNEL_FRAMES_MAX], USER_BYTES, BPF_F_USER_STACK));
}

SEC("perf_event")
int on_tick(struct bpf_perf_event_data* context) {
  const unsigned int zero = 0;
  const shoal_u64 cgroup = bpf_get_current_cgroup_id();
  if (!bpf_map_lookup_elem(&watched, &cgroup)) return 0;
  struct shoal_stack* stack = bpf_map_lookup_elem(&scratch, &zero);
  const shoal_u64* period = bpf_map_lookup_elem(&periods, &zero);
  if (!stack || !period) return 0;
  take_frames(context, stack, 0);
  stack->count = 1;
  stack->nanoseconds = *period;

  struct task_struct* leader = BPF_CORE_READ((struct task_struct*)bpf_get_current_task(), group_leader);
  struct shoal_stack_key key = {
      .cgroup = cgroup,
      .start = BPF_CORE_READ(leader, start_boottime),
      .hash = hash_frames(stack),
      .pid = bpf_get_current_pid_tgid() >> 32,
      .image = BPF_CORE_READ(leader, self_exec_id),
      .kind = SHOAL_STACK_ON_CPU,
  };
  add(&key, stack);
  return 0;
}

#define TASK_DEAD_STATES 0x90 /* EXIT_DEAD | TASK_DEAD: whoever is in one of them never runs again. */

static __always_inline void falls_asleep(void* context, struct task_struct* task) {
  const unsigned int zero = 0;
  const shoal_u64 cgroup = cgroup_of(task);
  if (!bpf_map_lookup_elem(&watched, &cgroup)) return;
  __sync_fetch_and_add(&waits_seen, 1);
  const unsigned int one_in = waits_one_in;
  if (one_in > 1 && bpf_get_prandom_u32() % one_in != 0) return;
  struct shoal_wait* wait = bpf_map_lookup_elem(&wait_scratch, &zero);
  if (!wait) return;
  struct shoal_stack* stack = &wait->stack;
  take_frames(context, stack, 1);
  stack->count = one_in;
  stack->nanoseconds = 0;
  struct task_struct* leader = task->group_leader;
  wait->key.cgroup = cgroup;
  wait->key.start = leader->start_boottime;
  wait->key.hash = hash_frames(stack);
  wait->key.pid = task->tgid;
  wait->key.image = leader->self_exec_id;
  wait->key.kind = SHOAL_STACK_OFF_CPU;
  wait->since = bpf_ktime_get_ns();
  const int thread = task->pid;
  const _Bool is_known = bpf_map_lookup_elem(&waits, &thread) != 0;
  if (bpf_map_update_elem(&waits, &thread, wait, BPF_ANY) != 0)
    count_lost(SHOAL_LOST_FULL);
  else if (!is_known)
    __sync_fetch_and_add(&waits_begun, 1);
}

static __always_inline void wakes_up(struct task_struct* task) {
  const shoal_u64 cgroup = cgroup_of(task);
  if (!bpf_map_lookup_elem(&watched, &cgroup)) return;
  const int thread = task->pid;
  struct shoal_wait* wait = bpf_map_lookup_elem(&waits, &thread);
  if (!wait) return;
  /* The thread may be another one of the same number. */
  if (wait->key.start == task->group_leader->start_boottime && wait->key.cgroup == cgroup) {
    wait->stack.nanoseconds = (bpf_ktime_get_ns() - wait->since) * wait->stack.count;
    add(&wait->key, &wait->stack);
  }
  if (bpf_map_delete_elem(&waits, &thread) == 0) __sync_fetch_and_add(&waits_ended, 1);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, _Bool preempt, struct task_struct* before, struct task_struct* after) {
  const unsigned int state = before->__state;
  if (!preempt && state != 0 && (state & TASK_DEAD_STATES) == 0) falls_asleep(ctx, before);
  wakes_up(after);
  return 0;
}

char licence_text[] SEC("license") = "GPL";
