#include "inlines/confine.h"

#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <iterator>

#include "symbols/limits.h"

namespace shoal::inlines {
namespace {

constexpr unsigned kNobody = 65534;
#if defined(__aarch64__)
constexpr uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kMachine = AUDIT_ARCH_X86_64;
#endif
/** What it takes to read a mapped file, have memory and write an answer. All others are refused with EPERM. */
constexpr uint32_t kAllowed[] = {
    SYS_read,   SYS_pread64, SYS_write,   SYS_lseek,      SYS_fstat,          SYS_newfstatat, SYS_fcntl, SYS_mmap,
    SYS_munmap, SYS_mremap,  SYS_madvise, SYS_brk,        SYS_futex,          SYS_getrandom,  SYS_close, SYS_exit,
    SYS_gettid, SYS_getpid,  SYS_tgkill,  SYS_exit_group, SYS_rt_sigprocmask, SYS_mprotect,
};

int limit(int resource, uint64_t value) {
  const rlimit both = {value, value};
  return setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

int limitAll() {
  using namespace symbols;
  return limit(RLIMIT_CPU, kInlineCpuSeconds) | limit(RLIMIT_DATA, kInlineMemoryBytesMax) |
         limit(RLIMIT_AS, kInlineAddressSpaceBytesMax) | limit(RLIMIT_CORE, 0) | limit(RLIMIT_FSIZE, 0) |
         limit(RLIMIT_NOFILE, 4);
}

/** Root gives its rights up; who has none to give runs on as it is. */
int dropUser() {
  if (geteuid() != 0) return 0;
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0) return -1;
  return setresuid(kNobody, kNobody, kNobody);
}

/** The machine's own calls alone: on x86-64 those of 32 bits have other numbers, and x32's a bit that none of these
 * has.
 */
int filterCalls() {
  static constexpr size_t kCount = std::size(kAllowed);
  sock_filter program[kCount + 6];
  size_t at = 0;
  program[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  program[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kMachine, 1, 0);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (size_t i = 0; i < kCount; i += 1) {
    const auto toTheEnd = static_cast<uint8_t>(kCount - i);
    program[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAllowed[i], toTheEnd, 0);
  }
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog filter = {static_cast<unsigned short>(at), program};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

}  // namespace

int confine() {
  const bool confined = limitAll() == 0 && dropUser() == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 &&
                        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                        filterCalls() == 0;
  return confined ? 0 : errno;
}

}  // namespace shoal::inlines
