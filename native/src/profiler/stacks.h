#pragma once

/** What stacks.bpf.c and its reader share. */
#include "cpu_time.h"

/** Frames kept of a stack, from its leaf on; the kernel's own bound for a walk is 127 (kernel.perf_event_max_stack). */
#define SHOAL_KERNEL_FRAMES_MAX 64
#define SHOAL_USER_FRAMES_MAX 127
#define SHOAL_FRAMES_MAX (SHOAL_KERNEL_FRAMES_MAX + SHOAL_USER_FRAMES_MAX)

/** Different stacks between two drains. What finds no place is counted as lost. */
#define SHOAL_STACKS_MAX 8192
/** Of these waits may take so many: they come in any number, and must leave room for what runs on a CPU. */
#define SHOAL_WAIT_STACKS_MAX (SHOAL_STACKS_MAX / 2)

/** What was being measured. */
#define SHOAL_STACK_ON_CPU 0
#define SHOAL_STACK_OFF_CPU 1

/** One image of a process and one stack of it. */
struct shoal_stack_key {
  shoal_u64 cgroup;
  /** When the process began, CLOCK_BOOTTIME nanoseconds: with the pid it names the process for ever. */
  shoal_u64 start;
  /** Of the frames. */
  shoal_u64 hash;
  unsigned int pid;
  /** Rises whenever the process executes another program: addresses mean something else then. */
  unsigned int image;
  unsigned int kind;
  unsigned int unused;
};

struct shoal_stack {
  shoal_u64 count;
  shoal_u64 nanoseconds;
  unsigned int kernel_frames;
  unsigned int user_frames;
  /** Kernel frames from 0 on, user frames from SHOAL_KERNEL_FRAMES_MAX on; leaf first. */
  shoal_u64 frames[SHOAL_FRAMES_MAX];
};

/** Waits that can be under way at once, of those that are looked at; more push out the longest. */
#define SHOAL_WAITS_MAX 4096

/** A wait that is under way: what it will be added to. */
struct shoal_wait {
  struct shoal_stack_key key;
  struct shoal_stack stack;
  /** CLOCK_MONOTONIC nanoseconds. */
  shoal_u64 since;
};

/** Samples that are missing, by reason. */
#define SHOAL_LOST_FULL 0
#define SHOAL_LOST_REASONS 1
