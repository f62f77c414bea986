#pragma once

/** What cpu_time.bpf.c and its reader share. `unsigned long long` is 64 bits to both compilers. */
typedef unsigned long long shoal_u64;

/** Nanoseconds of a cgroup on one CPU: running, and waiting to be let run. */
struct shoal_cpu_time {
  shoal_u64 ran;
  shoal_u64 waited;
};

/** The watched cgroup whose task runs on a CPU (0: none) and since when, in CLOCK_MONOTONIC nanoseconds. */
struct shoal_running {
  shoal_u64 cgroup;
  shoal_u64 since;
  /** What its task had waited in all before. */
  shoal_u64 waited;
};

/** Cgroups that can be watched at once. */
#define SHOAL_CGROUPS_MAX 4096
