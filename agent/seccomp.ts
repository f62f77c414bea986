/**
 * The seccomp filter of every instance, in the form of the OCI runtime specification. Everything that an application
 * needs is allowed; refused with EPERM is what administers the host or has been the way into many a kernel flaw and
 * what no unprivileged process has a use for (compare seccomp(2), and Docker's default profile as a list of the usual).
 */
const REFUSED = [
  ...['acct', 'add_key', 'bpf', 'clock_adjtime', 'clock_settime', 'create_module', 'delete_module', 'fanotify_init'],
  ...['finit_module', 'fsconfig', 'fsmount', 'fsopen', 'fspick', 'get_kernel_syms', 'get_mempolicy', 'init_module'],
  ...['io_uring_enter', 'io_uring_register', 'io_uring_setup', 'ioperm', 'iopl', 'kcmp', 'kexec_file_load'],
  ...['kexec_load', 'keyctl', 'lookup_dcookie', 'mbind', 'migrate_pages', 'mount', 'mount_setattr', 'move_mount'],
  ...['move_pages', 'name_to_handle_at', 'nfsservctl', 'open_by_handle_at', 'open_tree', 'perf_event_open'],
  ...['personality', 'pidfd_getfd', 'pivot_root', 'process_vm_readv', 'process_vm_writev', 'ptrace', 'query_module'],
  ...['quotactl', 'quotactl_fd', 'reboot', 'request_key', 'set_mempolicy', 'setdomainname', 'sethostname', 'setns'],
  ...['settimeofday', 'stime', 'swapoff', 'swapon', 'sysfs', 'syslog', 'umount', 'umount2', 'unshare', 'uselib'],
  ...['userfaultfd', 'ustat', 'vhangup', 'vmsplice'],
];
/** CLONE_NEWNS … CLONE_NEWNET and CLONE_NEWTIME, CLONE_NEWCGROUP of clone(2). */
const NEW_NAMESPACE = 0x7e020080;
/**
 * Of socket(2): kinds of sockets that no network namespace confines (AF_VSOCK reaches the machine's hypervisor), or that
 * open the kernel's crypto, key or packet code to whoever asks: AF_PACKET, AF_KEY, AF_ALG, AF_VSOCK, AF_XDP.
 */
const REFUSED_SOCKETS = [17, 15, 38, 40, 44];
/** What the kernel takes of an argument that is an int: a filter sees all 64 bits, and the upper ones are the caller's. */
const INT_BITS = 0xffffffff;
const EPERM = 1;
const ENOSYS = 38;

export function seccompProfile(): object {
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: process.arch === 'arm64' ? ['SCMP_ARCH_AARCH64'] : ['SCMP_ARCH_X86_64'],
    syscalls: [
      { names: REFUSED, action: 'SCMP_ACT_ERRNO', errnoRet: EPERM },
      // Its flags lie in memory, which a filter cannot read; C libraries then fall back to clone.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
      ...bitsOf(NEW_NAMESPACE).map((bit) => ({
        names: ['clone'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: EPERM,
        args: [{ index: 0, value: bit, valueTwo: bit, op: 'SCMP_CMP_MASKED_EQ' }],
      })),
      ...REFUSED_SOCKETS.map((family) => ({
        names: ['socket', 'socketpair'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: EPERM,
        args: [{ index: 0, value: INT_BITS, valueTwo: family, op: 'SCMP_CMP_MASKED_EQ' }],
      })),
    ],
  };
}

/** One rule for each bit: a masked comparison can only ask whether all bits of its mask have given values. */
function bitsOf(mask: number): number[] {
  return Array.from({ length: 31 }, (_, i) => 2 ** i).filter((bit) => (mask & bit) !== 0);
}
