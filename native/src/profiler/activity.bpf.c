/**
 * What watched cgroups do besides running: page faults by mapping, system calls, block I/O, network. Counts are exact.
 * For a task that is not watched each program costs one look into a hash table. Every program can be left out.
 */
/* The order matters: bpf_helpers.h uses the types of linux/bpf.h. */
// clang-format off
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
// clang-format on
#include "activity.h"

#include "kernel_types.bpf.h"

/** Cgroup id → counts on each CPU. Being a key is what being watched means. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SHOAL_CGROUPS_MAX);
  __type(key, shoal_u64);
  __type(value, struct shoal_activity);
} activity SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SHOAL_DETAILS_MAX);
  __type(key, struct shoal_detail_key);
  __type(value, struct shoal_detail);
} details SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SHOAL_ACTIVITY_LOST_REASONS);
  __type(key, unsigned int);
  __type(value, shoal_u64);
} activity_lost SEC(".maps");

/** Tracepoints of system calls may be preempted in the middle, and others come in interrupts: a plain sum would lose.
 */
static __always_inline void add(shoal_u64* sum, shoal_u64 more) { __sync_fetch_and_add(sum, more); }

static __always_inline void count_lost(unsigned int reason) {
  shoal_u64* counter = bpf_map_lookup_elem(&activity_lost, &reason);
  if (counter) add(counter, 1);
}

static __always_inline void add_detail(const struct shoal_detail_key* key, const struct shoal_detail* more) {
  struct shoal_detail* known = bpf_map_lookup_elem(&details, key);
  if (!known) {
    if (bpf_map_update_elem(&details, key, more, BPF_NOEXIST) == 0) return;
    /* Another CPU was first, or there is no place. */
    known = bpf_map_lookup_elem(&details, key);
  }
  if (!known) {
    count_lost(SHOAL_ACTIVITY_LOST_DETAIL);
    return;
  }
  if (more->count) add(&known->count, more->count);
  if (more->nanoseconds) add(&known->nanoseconds, more->nanoseconds);
  if (more->again) add(&known->again, more->again);
  if (more->failed) add(&known->failed, more->failed);
}

/* --- page faults -------------------------------------------------------------------------------------------------- */

static long name_mapping(struct task_struct* task, struct vm_area_struct* area, struct shoal_detail_key* key) {
  struct file* file = BPF_CORE_READ(area, vm_file);
  if (file) {
    key->place = SHOAL_MAPPING_FILE;
    bpf_probe_read_kernel_str(key->name, sizeof key->name, BPF_CORE_READ(file, f_path.dentry, d_name.name));
    return 0;
  }
  const unsigned long start = BPF_CORE_READ(area, vm_start);
  const unsigned long end = BPF_CORE_READ(area, vm_end);
  struct mm_struct* mm = BPF_CORE_READ(task, mm);
  const unsigned long stack = BPF_CORE_READ(mm, start_stack);
  if (start <= stack && stack < end)
    key->place = SHOAL_MAPPING_STACK;
  else if (start <= BPF_CORE_READ(mm, brk) && end >= BPF_CORE_READ(mm, start_brk))
    key->place = SHOAL_MAPPING_HEAP;
  else
    key->place = SHOAL_MAPPING_ANONYMOUS;
  return 0;
}

static __always_inline int count_fault(struct bpf_perf_event_data* context, unsigned int how) {
  const shoal_u64 cgroup = bpf_get_current_cgroup_id();
  if (!bpf_map_lookup_elem(&activity, &cgroup)) return 0;
  struct shoal_detail_key key = {
      .cgroup = cgroup, .kind = SHOAL_DETAIL_FAULT, .number = how, .place = SHOAL_MAPPING_UNKNOWN};
  bpf_find_vma(bpf_get_current_task_btf(), context->addr, name_mapping, &key, 0);
  /* Of many faults one in so many comes here. */
  const struct shoal_detail more = {.count = context->sample_period};
  add_detail(&key, &more);
  return 0;
}

SEC("perf_event")
int on_minor_fault(struct bpf_perf_event_data* context) { return count_fault(context, SHOAL_FAULT_MINOR); }

SEC("perf_event")
int on_major_fault(struct bpf_perf_event_data* context) { return count_fault(context, SHOAL_FAULT_MAJOR); }

/* --- system calls ------------------------------------------------------------------------------------------------- */

/** The call that a thread is in. */
struct call {
  shoal_u64 since;
  long number;
};

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct call);
} calls SEC(".maps");

SEC("tp_btf/sys_enter")
int BPF_PROG(on_call, struct pt_regs* registers, long number) {
  struct task_struct* task = bpf_get_current_task_btf();
  const shoal_u64 cgroup = cgroup_of(task);
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &cgroup);
  if (!sums) return 0;
  add(&sums->system_calls, 1);
  struct shoal_detail_key key = {.cgroup = cgroup, .kind = SHOAL_DETAIL_SYSTEM_CALL, .number = number};
  const struct shoal_detail one = {.count = 1};
  add_detail(&key, &one);
  struct call* call = bpf_task_storage_get(&calls, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
  if (!call) {
    count_lost(SHOAL_ACTIVITY_LOST_TIME);
    return 0;
  }
  call->number = number;
  call->since = bpf_ktime_get_ns();
  return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_return, struct pt_regs* registers, long result) {
  struct task_struct* task = bpf_get_current_task_btf();
  const shoal_u64 cgroup = cgroup_of(task);
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &cgroup);
  if (!sums) return 0;
  struct call* call = bpf_task_storage_get(&calls, task, 0, 0);
  if (!call || call->since == 0) return 0;
  const shoal_u64 took = bpf_ktime_get_ns() - call->since;
  call->since = 0;
  add(&sums->system_call_time, took);
  struct shoal_detail_key key = {.cgroup = cgroup, .kind = SHOAL_DETAIL_SYSTEM_CALL, .number = call->number};
  const struct shoal_detail time = {.nanoseconds = took};
  add_detail(&key, &time);
  return 0;
}

/* --- block I/O ---------------------------------------------------------------------------------------------------- */

struct io {
  shoal_u64 cgroup;
  shoal_u64 since;
};

/** By the bio's address. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SHOAL_IOS_MAX);
  __type(key, shoal_u64);
  __type(value, struct io);
} ios SEC(".maps");

#define OPERATION_MASK 0xff
#define OPERATION_READ 0
#define OPERATION_WRITE 1

/**
 * Who is charged for it, which with cgroup v2's io controller is known also of pages written back later; else the task
 * that asks. Ids of different hierarchies have nothing to do with each other.
 */
static __always_inline shoal_u64 payer_of(struct bio* bio) {
  struct cgroup* own = bpf_get_current_task_btf()->cgroups->dfl_cgrp;
  if (bpf_core_field_exists(bio->bi_blkg) && bio->bi_blkg) {
    struct cgroup* charged = bio->bi_blkg->blkcg->css.cgroup;
    if (charged->root == own->root) return charged->kn->id;
  }
  return own->kn->id;
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(on_io, struct bio* bio) {
  const unsigned int operation = bio->bi_opf & OPERATION_MASK;
  if (operation != OPERATION_READ && operation != OPERATION_WRITE) return 0;
  const struct io io = {.cgroup = payer_of(bio), .since = bpf_ktime_get_ns()};
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &io.cgroup);
  if (!sums) return 0;
  if (operation == OPERATION_READ) {
    add(&sums->io_reads, 1);
    add(&sums->io_read_bytes, bio->bi_iter.bi_size);
  } else {
    add(&sums->io_writes, 1);
    add(&sums->io_write_bytes, bio->bi_iter.bi_size);
  }
  const shoal_u64 address = (shoal_u64)bio;
  if (bpf_map_update_elem(&ios, &address, &io, BPF_ANY) != 0) count_lost(SHOAL_ACTIVITY_LOST_IO);
  return 0;
}

static __always_inline unsigned int bucket_of(shoal_u64 nanoseconds) {
  shoal_u64 microseconds = nanoseconds / 1000;
  unsigned int bucket = 0;
  for (; bucket < SHOAL_IO_BUCKETS - 1 && microseconds > 0; bucket += 1) microseconds >>= 1;
  return bucket;
}

static __always_inline void finish(struct bio* bio, shoal_u64 now) {
  const shoal_u64 address = (shoal_u64)bio;
  const struct io* io = bpf_map_lookup_elem(&ios, &address);
  if (!io) return;
  const shoal_u64 cgroup = io->cgroup;
  const shoal_u64 took = now - io->since;
  bpf_map_delete_elem(&ios, &address);
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &cgroup);
  if (!sums) return;
  const unsigned int bucket = bucket_of(took);
  add(&sums->io_time, took);
  if (bucket < SHOAL_IO_BUCKETS) add(&sums->io_buckets[bucket], 1);
}

/** Of devices without queue of requests; of the others the kernel tells the end by request only. */
SEC("tp_btf/block_bio_complete")
int BPF_PROG(on_bio_done, struct request_queue* queue, struct bio* bio) {
  finish(bio, bpf_ktime_get_ns());
  return 0;
}

/** A request is one I/O, or several that lie side by side; it may end part by part. */
SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_request_done, struct request* request, int error, unsigned int bytes) {
  const shoal_u64 now = bpf_ktime_get_ns();
  struct bio* bio = request->bio;
  unsigned int done = 0;
  for (unsigned int i = 0; i < SHOAL_IOS_MERGED_MAX && bio; i += 1) {
    done += bio->bi_iter.bi_size;
    if (done > bytes) break;
    finish(bio, now);
    bio = bio->bi_next;
  }
  return 0;
}

/* --- network ------------------------------------------------------------------------------------------------------ */

#define FAMILY_IPV4 2
#define FAMILY_IPV6 10
#define FLAG_PEEK 2

static __always_inline struct shoal_activity* internet_sums(struct sock* socket, int result) {
  const unsigned short family = socket->__sk_common.skc_family;
  if (result <= 0 || (family != FAMILY_IPV4 && family != FAMILY_IPV6)) return 0;
  const shoal_u64 cgroup = cgroup_of(bpf_get_current_task_btf());
  return bpf_map_lookup_elem(&activity, &cgroup);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_sent, struct sock* socket, int result, int flags) {
  struct shoal_activity* sums = internet_sums(socket, result);
  if (sums) add(&sums->sent_bytes, result);
  return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_received, struct sock* socket, int result, int flags) {
  if (flags & FLAG_PEEK) return 0;
  struct shoal_activity* sums = internet_sums(socket, result);
  if (sums) add(&sums->received_bytes, result);
  return 0;
}

/*
 * Before Linux 6.3 there are no such tracepoints: there the ends of the functions are looked at through which IPv4 and
 * IPv6 sockets of every kind send and receive, sendfile(2) by a function of its own.
 */

static __always_inline int count_sent(struct socket* socket, int result) {
  struct shoal_activity* sums = internet_sums(socket->sk, result);
  if (sums) add(&sums->sent_bytes, result);
  return 0;
}

static __always_inline int count_received(struct socket* socket, int result, int flags) {
  if (flags & FLAG_PEEK) return 0;
  struct shoal_activity* sums = internet_sums(socket->sk, result);
  if (sums) add(&sums->received_bytes, result);
  return 0;
}

SEC("fexit/inet_sendmsg")
int BPF_PROG(on_sent_ipv4, struct socket* socket, struct msghdr* message, unsigned long bytes, int result) {
  return count_sent(socket, result);
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(on_sent_ipv6, struct socket* socket, struct msghdr* message, unsigned long bytes, int result) {
  return count_sent(socket, result);
}

SEC("fexit/inet_sendpage")
int BPF_PROG(on_sent_page, struct socket* socket, struct page* page, int offset, unsigned long bytes, int flags,
             long result) {
  return count_sent(socket, result);
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(on_received_ipv4, struct socket* socket, struct msghdr* message, unsigned long bytes, int flags,
             int result) {
  return count_received(socket, result, flags);
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(on_received_ipv6, struct socket* socket, struct msghdr* message, unsigned long bytes, int flags,
             int result) {
  return count_received(socket, result, flags);
}

static __always_inline shoal_u64 owner_of(struct sock* socket) {
  return bpf_core_field_exists(socket->sk_cgrp_data.cgroup) ? socket->sk_cgrp_data.cgroup->kn->id : 0;
}

static __always_inline void add_peer(struct sock* socket, shoal_u64 cgroup, const struct shoal_detail* more) {
  struct shoal_detail_key key = {.cgroup = cgroup, .kind = SHOAL_DETAIL_PEER};
  key.number = socket->__sk_common.skc_family;
  key.place = __builtin_bswap16(socket->__sk_common.skc_dport);
  if (key.number == FAMILY_IPV4) {
    *(unsigned int*)key.name = socket->__sk_common.skc_daddr;
  } else if (bpf_core_field_exists(socket->__sk_common.skc_v6_daddr)) {
    bpf_probe_read_kernel(key.name, sizeof(struct in6_addr), &socket->__sk_common.skc_v6_daddr);
  }
  add_detail(&key, more);
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(on_retransmit, struct sock* socket) {
  const shoal_u64 cgroup = owner_of(socket);
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &cgroup);
  if (!sums) return 0;
  add(&sums->retransmits, 1);
  const struct shoal_detail more = {.again = 1};
  add_peer(socket, cgroup, &more);
  return 0;
}

/** Socket → when it began to connect. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SHOAL_CONNECTING_MAX);
  __type(key, shoal_u64);
  __type(value, shoal_u64);
} connecting SEC(".maps");

#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT 2

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock* socket, int before, int after) {
  if (before != STATE_SYN_SENT && after != STATE_SYN_SENT) return 0;
  const shoal_u64 cgroup = owner_of(socket);
  struct shoal_activity* sums = bpf_map_lookup_elem(&activity, &cgroup);
  if (!sums) return 0;
  const shoal_u64 now = bpf_ktime_get_ns();
  const shoal_u64 address = (shoal_u64)socket;
  if (after == STATE_SYN_SENT) {
    bpf_map_update_elem(&connecting, &address, &now, BPF_ANY);
    return 0;
  }
  const shoal_u64* since = bpf_map_lookup_elem(&connecting, &address);
  if (!since) count_lost(SHOAL_ACTIVITY_LOST_TIME);
  struct shoal_detail more = {.nanoseconds = since ? now - *since : 0};
  if (after == STATE_ESTABLISHED) {
    more.count = 1;
    add(&sums->connects, 1);
    add(&sums->connect_time, more.nanoseconds);
  } else {
    more.failed = 1;
    more.nanoseconds = 0;
    add(&sums->connects_failed, 1);
  }
  add_peer(socket, cgroup, &more);
  bpf_map_delete_elem(&connecting, &address);
  return 0;
}

char licence_text[] SEC("license") = "GPL";
