#pragma once

/**
 * Walks user stacks by tables of .eh_frame, and by frame pointers where a table says nothing. User space compiles a
 * table for each file and tells which of them holds for which addresses of a process; a process that it has not told of
 * is walked by the kernel itself, by frame pointers.
 *
 * One step is one run of a callback of bpf_loop (Linux 5.17), so that the verifier looks at it once. Each finds the
 * mapping and the row by binary search. As in the profilers of Parca
 * (https://www.polarsignals.com/blog/posts/2022/11/29/ profiling-without-frame-pointers) and OpenTelemetry
 * (support/ebpf/native_stack_trace.ebpf.c), but tables are not cut into pages, as one array of the kernel holds a whole
 * file, and no tail calls are needed.
 */
#include "unwind.h"

/** Cleared before the programs are loaded where the kernel lacks what this needs. */
const volatile _Bool unwinds = 1;

/* Made in full when loaded, as those in stacks.bpf.c. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SHOAL_UNWIND_PROCESSES_MAX);
  __type(key, unsigned int);
  __type(value, struct shoal_unwind_process);
} unwind_processes SEC(".maps");

struct unwind_table {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __uint(key_size, sizeof(unsigned int));
  __uint(value_size, sizeof(struct shoal_unwind_row));
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, SHOAL_UNWIND_TABLES_MAX);
  __type(key, unsigned int);
  __array(values, struct unwind_table);
} unwind_tables SEC(".maps");

#if defined(__TARGET_ARCH_x86)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/** As the kernel calls its fields; user space calls them otherwise. */
struct pt_regs___kernel {
  unsigned long bp;
  unsigned long ip;
  unsigned long cs;
  unsigned long sp;
};
#pragma clang attribute pop

/** Of a program of 64 bits (__USER_CS). */
#define CODE_SEGMENT_64 0x33

/** A signal's frame, seen where its handler returns to: after uc_flags, uc_link and uc_stack come the registers, in the
 * order of enum in <sys/ucontext.h>. */
#define SIGNAL_REGISTERS 40
#define SIGNAL_RBP (SIGNAL_REGISTERS + 10 * 8)
#define SIGNAL_RSP (SIGNAL_REGISTERS + 15 * 8)
#define SIGNAL_RIP (SIGNAL_REGISTERS + 16 * 8)

struct walk {
  shoal_u64 ip;
  shoal_u64 sp;
  shoal_u64 bp;
  unsigned int pid;
  unsigned int frames;
  /** Where the frames go: the stack of a wait, or of a tick. */
  unsigned int is_wait;
  /** The address is that of a running instruction, not one that a call returns to. */
  unsigned int is_exact;
};

static __always_inline struct shoal_stack* stack_of(unsigned int is_wait) {
  const unsigned int zero = 0;
  if (!is_wait) return bpf_map_lookup_elem(&scratch, &zero);
  struct shoal_wait* wait = bpf_map_lookup_elem(&wait_scratch, &zero);
  return wait ? &wait->stack : 0;
}

static __always_inline _Bool read_word(shoal_u64 from, shoal_u64* to) {
  return bpf_probe_read_user(to, sizeof *to, (void*)from) == 0;
}

static __always_inline const struct shoal_unwind_mapping* mapping_of(const struct shoal_unwind_process* process,
                                                                     shoal_u64 address) {
  unsigned int low = 0;
  unsigned int high = process->mappings_count;
  for (unsigned int i = 0; i < SHOAL_UNWIND_MAPPING_STEPS && low < high; i += 1) {
    const unsigned int middle = (low + high) / 2;
    if (middle >= SHOAL_UNWIND_MAPPINGS_MAX) return 0;
    if (process->mappings[middle].begin <= address)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0 || low > SHOAL_UNWIND_MAPPINGS_MAX) return 0;
  const struct shoal_unwind_mapping* mapping = &process->mappings[low - 1];
  return address < mapping->end ? mapping : 0;
}

static __always_inline struct shoal_unwind_row row_of(const struct shoal_unwind_mapping* mapping, shoal_u64 address) {
  const struct shoal_unwind_row none = {.rule = SHOAL_UNWIND_FRAME_POINTER};
  const unsigned int number = mapping->table;
  void* table = bpf_map_lookup_elem(&unwind_tables, &number);
  if (!table) return none;
  const shoal_u64 wanted = address - mapping->shift;
  unsigned int low = 0;
  unsigned int high = mapping->rows;
  for (unsigned int i = 0; i < SHOAL_UNWIND_ROW_STEPS && low < high; i += 1) {
    const unsigned int middle = (low + high) / 2;
    const struct shoal_unwind_row* row = bpf_map_lookup_elem(table, &middle);
    if (!row) return none;
    if (row->address <= wanted)
      low = middle + 1;
    else
      high = middle;
  }
  const unsigned int found = low - 1;
  const struct shoal_unwind_row* row = low > 0 ? bpf_map_lookup_elem(table, &found) : 0;
  return row ? *row : none;
}

/** From a function to its caller. False where there is none, or no way to it. */
static __always_inline _Bool to_caller(struct walk* walk, struct shoal_unwind_row row) {
  shoal_u64 cfa = 0;
  shoal_u64 bp = walk->bp;
  switch (row.rule) {
    case SHOAL_UNWIND_FRAME_POINTER:
      cfa = walk->bp + 16;
      if (!read_word(walk->bp, &bp)) return 0;
      break;
    case SHOAL_UNWIND_RSP:
      cfa = walk->sp + (shoal_u64)((long)row.cfa_offset * 8);
      break;
    case SHOAL_UNWIND_RBP:
      cfa = walk->bp + (shoal_u64)((long)row.cfa_offset * 8);
      break;
    case SHOAL_UNWIND_RBP_STORED:
      if (!read_word(walk->bp + (shoal_u64)((long)row.cfa_offset * 8), &cfa) || !read_word(walk->bp, &bp)) return 0;
      break;
    case SHOAL_UNWIND_PLT:
      cfa = walk->sp + 8 + ((walk->ip & 15) >= (shoal_u64)row.cfa_offset ? 8 : 0);
      break;
    case SHOAL_UNWIND_SIGNAL: {
      const shoal_u64 frame = walk->sp;
      walk->is_exact = 1;
      return read_word(frame + SIGNAL_RIP, &walk->ip) && read_word(frame + SIGNAL_RSP, &walk->sp) &&
             read_word(frame + SIGNAL_RBP, &walk->bp);
    }
    default:
      return 0;
  }
  /* Towards the callers a stack only rises. */
  if (cfa <= walk->sp) return 0;
  if (row.rbp_offset != 0 && !read_word(cfa + (shoal_u64)((long)row.rbp_offset * 8), &bp)) return 0;
  if (!read_word(cfa - 8, &walk->ip)) return 0;
  walk->sp = cfa;
  walk->bp = bp;
  walk->is_exact = 0;
  return walk->ip != 0;
}

static long walk_step(unsigned int index, void* context) {
  struct walk* walk = context;
  struct shoal_stack* stack = stack_of(walk->is_wait);
  const unsigned int pid = walk->pid;
  struct shoal_unwind_process* process = bpf_map_lookup_elem(&unwind_processes, &pid);
  shoal_u64 place = SHOAL_KERNEL_FRAMES_MAX + walk->frames;
  /* Keeps the compiler from checking another register than the one that it then adds. */
  __asm__ volatile("" : "+r"(place));
  if (!stack || !process || place >= SHOAL_FRAMES_MAX) return 1;
  stack->frames[place] = walk->ip;
  walk->frames += 1;
  /* A call may be the last instruction of its function: what it returns to is of the next one then. */
  const shoal_u64 address = walk->is_exact ? walk->ip : walk->ip - 1;
  const struct shoal_unwind_mapping* mapping = mapping_of(process, address);
  if (!mapping) __sync_fetch_and_add(&process->strange, 1);
  struct shoal_unwind_row row = {.rule = SHOAL_UNWIND_FRAME_POINTER};
  if (mapping && mapping->table != 0) row = row_of(mapping, address);
  return !to_caller(walk, row);
}

/** Frames written, or 0 where the process is not known. */
static __always_inline unsigned int walk_by_tables(struct task_struct* task, unsigned int is_wait) {
  const unsigned int pid = task->tgid;
  const struct shoal_unwind_process* process = bpf_map_lookup_elem(&unwind_processes, &pid);
  if (!process || process->start != task->group_leader->start_boottime ||
      process->image != (unsigned int)task->group_leader->self_exec_id)
    return 0;
  const struct pt_regs___kernel* registers = (void*)bpf_task_pt_regs(task);
  if (registers->cs != CODE_SEGMENT_64) return 0;
  struct walk walk = {
      .ip = registers->ip, .sp = registers->sp, .bp = registers->bp, .pid = pid, .is_wait = is_wait, .is_exact = 1};
  bpf_loop(SHOAL_USER_FRAMES_MAX, walk_step, &walk, 0);
  return walk.frames;
}

#else

static __always_inline unsigned int walk_by_tables(struct task_struct* task, unsigned int is_wait) { return 0; }

#endif
