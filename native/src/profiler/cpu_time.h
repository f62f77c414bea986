#pragma once

/** What cpu_time.bpf.c and its reader share. `unsigned long long` is 64 bits to both compilers. */
typedef unsigned long long shoal_u64;

/** Of a cgroup on one CPU: nanoseconds running, and waiting to be let run; page faults, by how they were served. */
struct shoal_cpu_time {
  shoal_u64 ran;
  shoal_u64 waited;
  shoal_u64 faults_minor;
  shoal_u64 faults_major;
};

/** The watched cgroup whose task runs on a CPU (0: none) and since when, in CLOCK_MONOTONIC nanoseconds. */
struct shoal_running {
  shoal_u64 cgroup;
  shoal_u64 since;
  /** What its task had waited in all before. */
  shoal_u64 waited;
  /** And had had of page faults. */
  shoal_u64 faults_minor;
  shoal_u64 faults_major;
};

/** Cgroups that can be watched at once. */
#define SHOAL_CGROUPS_MAX 4096
