#pragma once

/** What activity.bpf.c and its reader share. */
#include "cpu_time.h"

/** Bucket i counts block I/O that took less than 2^i microseconds, the last one all longer ones. */
#define SHOAL_IO_BUCKETS 24

/** Of one cgroup on one CPU, since it was watched. Times in nanoseconds. */
struct shoal_activity {
  shoal_u64 system_calls;
  shoal_u64 system_call_time;
  shoal_u64 io_reads;
  shoal_u64 io_writes;
  shoal_u64 io_read_bytes;
  shoal_u64 io_write_bytes;
  shoal_u64 io_time;
  shoal_u64 io_buckets[SHOAL_IO_BUCKETS];
  shoal_u64 sent_bytes;
  shoal_u64 received_bytes;
  shoal_u64 retransmits;
  shoal_u64 connects;
  shoal_u64 connect_time;
  shoal_u64 connects_failed;
};

/** What is counted in detail. */
#define SHOAL_DETAIL_FAULT 1
#define SHOAL_DETAIL_SYSTEM_CALL 2
#define SHOAL_DETAIL_PEER 3

/** How a page fault was served. */
#define SHOAL_FAULT_MINOR 0
#define SHOAL_FAULT_MAJOR 1

/** What the page that was missing belongs to, where it has no file. */
#define SHOAL_MAPPING_FILE 0
#define SHOAL_MAPPING_ANONYMOUS 1
#define SHOAL_MAPPING_HEAP 2
#define SHOAL_MAPPING_STACK 3
#define SHOAL_MAPPING_UNKNOWN 4

#define SHOAL_DETAIL_NAME 32

/** One thing that is counted by itself. Bytes that a kind does not use are zero. */
struct shoal_detail_key {
  shoal_u64 cgroup;
  unsigned int kind;
  /** Faults: how served. System calls: number. Peers: family of the address. */
  unsigned int number;
  /** Faults: SHOAL_MAPPING_. Peers: port. */
  unsigned int place;
  unsigned int unused;
  /** Faults: the file's name. Peers: address, 4 or 16 bytes as on the wire. */
  unsigned char name[SHOAL_DETAIL_NAME];
};

struct shoal_detail {
  shoal_u64 count;
  shoal_u64 nanoseconds;
  /** Peers: segments sent again, and connections that did not come about. */
  shoal_u64 again;
  shoal_u64 failed;
};

/** Things counted by themselves at once; what finds no place is in the sums only. */
#define SHOAL_DETAILS_MAX 16384
/** Block I/O, and connections being made, that can be under way at once. */
#define SHOAL_IOS_MAX 16384
#define SHOAL_CONNECTING_MAX 8192
/** Block I/Os that a device may be given as one request: 1 MiB page by page. */
#define SHOAL_IOS_MERGED_MAX 256

#define SHOAL_ACTIVITY_LOST_DETAIL 0
#define SHOAL_ACTIVITY_LOST_IO 1
/** How long something took, which itself is counted. */
#define SHOAL_ACTIVITY_LOST_TIME 2
#define SHOAL_ACTIVITY_LOST_REASONS 3
