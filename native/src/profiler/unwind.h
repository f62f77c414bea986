#pragma once

/** What unwind.bpf.h and its writer share: which table holds for which addresses of a process. */
#include "../symbols/unwind_row.h"
#include "cpu_time.h"

/** Executable mappings of a process; of more the last ones by address are left out. */
#define SHOAL_UNWIND_MAPPINGS_MAX 128
/** Processes that are known at once. */
#define SHOAL_UNWIND_PROCESSES_MAX 2048
/** Tables there can be, one for each file. */
#define SHOAL_UNWIND_TABLES_MAX 1024
/** Steps of a search that suffice for a table and for a process. */
#define SHOAL_UNWIND_ROW_STEPS 20
#define SHOAL_UNWIND_MAPPING_STEPS 8

struct shoal_unwind_mapping {
  shoal_u64 begin;
  shoal_u64 end;
  /** Less this an address is as a table's rows have it. */
  shoal_u64 shift;
  /** 0: there is none, the frame pointer has to do. */
  unsigned int table;
  unsigned int rows;
};

struct shoal_unwind_process {
  /** Together with the pid: this program in this process. */
  shoal_u64 start;
  unsigned int image;
  unsigned int mappings_count;
  /** Addresses that were in none of its mappings: it may have others by now. */
  shoal_u64 strange;
  /** Sorted. */
  struct shoal_unwind_mapping mappings[SHOAL_UNWIND_MAPPINGS_MAX];
};
