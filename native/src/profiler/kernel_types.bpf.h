#pragma once

/**
 * The few fields needed of the kernel's structs; relocated at load time by the kernel's own BTF (CO-RE). A field that
 * a kernel lacks is asked for with bpf_core_field_exists before it is read.
 */
#include "cpu_time.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernfs_node {
  shoal_u64 id;
};
struct cgroup_root;
struct msghdr;
struct page;
struct request_queue;
struct cgroup {
  struct kernfs_node* kn;
  struct cgroup_root* root;
};
struct css_set {
  struct cgroup* dfl_cgrp;
};
/* Kept with CONFIG_SCHED_INFO, which statistics and accounting of delays bring with them. */
struct sched_info {
  shoal_u64 run_delay;
};
struct mm_struct {
  unsigned long start_brk;
  unsigned long brk;
  unsigned long start_stack;
};
struct task_struct {
  unsigned int __state;
  int pid;
  int tgid;
  shoal_u64 start_boottime;
  shoal_u64 self_exec_id;
  struct task_struct* group_leader;
  struct sched_info sched_info;
  unsigned long min_flt;
  unsigned long maj_flt;
  struct css_set* cgroups;
  struct mm_struct* mm;
};

struct qstr {
  const unsigned char* name;
};
struct dentry {
  struct qstr d_name;
};
struct path {
  struct dentry* dentry;
};
struct file {
  struct path f_path;
};
struct vm_area_struct {
  unsigned long vm_start;
  unsigned long vm_end;
  struct file* vm_file;
};

struct cgroup_subsys_state {
  struct cgroup* cgroup;
};
struct blkcg {
  struct cgroup_subsys_state css;
};
struct blkcg_gq {
  struct blkcg* blkcg;
};
struct bvec_iter {
  unsigned int bi_size;
};
struct bio {
  struct bio* bi_next;
  unsigned int bi_opf;
  struct bvec_iter bi_iter;
  struct blkcg_gq* bi_blkg;
};
struct request {
  struct bio* bio;
};

struct in6_addr {
  unsigned int words[4];
};
struct sock_common {
  unsigned short skc_family;
  unsigned int skc_daddr;
  unsigned short skc_dport;
  struct in6_addr skc_v6_daddr;
};
struct sock_cgroup_data {
  struct cgroup* cgroup;
};
struct sock;
struct socket {
  struct sock* sk;
};
struct sock {
  struct sock_common __sk_common;
  struct sock_cgroup_data sk_cgrp_data;
};
#pragma clang attribute pop

static __always_inline shoal_u64 cgroup_of(struct task_struct* task) { return task->cgroups->dfl_cgrp->kn->id; }
