# Tries to get out of an instance, or to harm its neighbours, in every way that the test names. Says of each "NAME held"
# or "NAME BROKEN". Only perl-base, which every Debian has, and raw system calls of x86_64 (arch/x86/entry/syscalls).
use strict;
use Socket;
$| = 1;

sub held { my ($name, $held) = @_; print "$name ", ($held ? "held" : "BROKEN $!"), "\n"; }
# A refused system call.
sub refused { my ($name, @call) = @_; held($name, syscall($call[0], @call[1 .. $#call]) == -1); }
# One that is refused for who asks, whatever its arguments are: EPERM or ENOSYS.
sub denied { my ($name, @call) = @_;
  my $answer = syscall($call[0], @call[1 .. $#call]);
  held($name, $answer == -1 && ($! == 1 || $! == 38)); }
sub unreadable { my ($name, $path) = @_; my $file; held($name, !open($file, '<', $path) || !defined(readline $file)); }
sub unwritable { my ($name, $path, $text) = @_;
  my $file;
  my $ok = open($file, '>', $path) && syswrite($file, $text);
  held($name, !$ok); }

# The kernel's switches.
unwritable("write $_", $_, "1") for qw(/proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches
  /proc/sysrq-trigger /proc/sys/net/ipv4/ip_forward /proc/irq/0/smp_affinity /proc/sys/kernel/modprobe
  /proc/sys/kernel/ns_last_pid /proc/sys/fs/binfmt_misc/register /proc/sys/user/max_user_namespaces
  /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /sys/fs/cgroup/cgroup.procs);
# The runtime's own program, by a process of it.
unwritable("write $_", $_, "x") for qw(/proc/self/exe /proc/1/exe);
unwritable('escape the memory killer', '/proc/self/oom_score_adj', '-1000');
unreadable("read $_", $_) for qw(/proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /sys/firmware/acpi/tables/DSDT
  /etc/shadow /root/.bashrc /dev/mem /dev/vda /dev/kmsg /sys/fs/cgroup/cgroup.procs /proc/1/root/etc/shadow);
unwritable("write $_", $_, "x") for qw(/x /usr/x /app/x /opt/shoal/bin/node /run/shoal-peers/x);

# Devices, mounts, namespaces.
my ($zero, $tmp, $new) = ("\0" x 128, "/tmp/f\0", "/tmp\0");
mkdir '/tmp/f';
refused('mknod mem', 133, my $node = "/tmp/mem\0", 0020666, 0x101);
refused('mknod disk', 133, my $disk = "/tmp/disk\0", 0060666, 0x800);
my $tmpfs = "tmpfs\0";
refused('mount', 165, $tmpfs, $tmp, $tmpfs, 0, 0);
refused('bind mount', 165, my $etc = "/proc\0", $tmp, 0, 4096, 0);
my $root = "/\0";
refused('remount writable', 165, 0, $root, 0, 32 | 4096, 0);
refused('umount', 166, my $proc = "/proc\0", 2);
refused('pivot_root', 155, $new, $tmp);
refused('chroot', 161, $tmp);
refused('fsopen', 430, $tmpfs, 0);
refused('open_tree', 428, -100, $root, 1);
refused('move_mount', 429, -100, $root, -100, $tmp, 0);
refused('mount_setattr', 442, -100, $root, 0, $zero, 32);
refused('unshare user', 272, 0x10000000);
refused('unshare mount', 272, 0x00020000);
refused('clone with a user namespace', 56, 0x10000000 | 17, 0, 0, 0, 0);
refused('clone3', 435, $zero, 88);
open(my $ns, '<', '/proc/self/ns/net');
refused('setns', 308, fileno($ns), 0);
my $name = "x\0";
refused('sethostname', 170, $name, 1);

# The kernel's rarely needed parts.
refused('bpf', 321, 0, $zero, 48);
refused('perf_event_open', 298, $zero, 0, -1, -1, 0);
refused('userfaultfd', 323, 0);
refused('io_uring_setup', 425, 1, $zero);
refused('keyctl', 250, 0, -3, 0, 0, 0);
my $user = "user\0";
refused('add_key', 248, $user, $name, $name, 1, -3);
refused('request_key', 249, $user, $name, 0, -3);
refused('init_module', 175, $zero, 128, $name);
refused('kexec_load', 246, 0, 0, 0, 0);
refused('reboot', 169, 0xfee1dead, 672274793, 0, 0);
refused('settimeofday', 164, $zero, 0);
refused('iopl', 172, 3);
refused('open_by_handle_at', 304, 3, $zero, 0);
refused('personality', 135, 0x0040000);
refused('swapon', 167, $tmp, 0);
refused('syslog', 103, 3, $zero, 128);
denied('acct', 163, $tmp);
denied('quotactl', 179, 0x800002 << 8, 0, 0, 0);
denied('clock_settime', 227, 0, $zero);
denied('ioperm', 173, 0x80, 1, 1);
denied('vmsplice', 278, 1, 0, 0, 0);
denied('move_pages', 279, 0, 0, 0, 0, 0, 0);
denied('migrate_pages', 256, 0, 0, 0, 0);
denied('process_vm_writev', 311, $$, 0, 0, 0, 0, 0);
denied('fanotify_init', 300, 0, 0);

# Neighbours and the host's processes.
my $host = $ENV{HOST_PID};
refused('ptrace', 101, 16, $host, 0, 0);
refused('process_vm_readv', 310, $host, $zero, 1, $zero, 1, 0);
refused('pidfd_getfd', 438, 3, 0, 0);
refused('kcmp', 312, $host, $$, 0, 0, 0);
held('signal a process of the host', !kill(0, $host));
held('see other processes', 2 >= grep { /^\d+$/ } map { s{.*/}{}r } glob('/proc/[0-9]*'));
refused('better priority', 141, 0, 0, -20);
refused('real-time priority', 144, 0, 1, my $priority = pack('i', 50));

# More rights than given.
refused('capset', 126, my $header = pack('Ii', 0x20080522, 0), my $all = pack('I6', (0xffffffff) x 6));
held('become another user', !(eval { $> = 12345; $> == 12345 }));
open(my $own, '>', '/tmp/own');
refused('give a file away', 92, my $path = "/tmp/own\0", 12345, 12345);
chmod 06755, '/tmp/own';
held('run from /tmp', !(system('/bin/cp', '/bin/true', '/tmp/true') == 0 && system('/tmp/true') == 0));

# Networks.
my $socket;
held("socket of $_->[0]", !socket($socket, $_->[1], $_->[2], $_->[3]))
  for ['packets', 17, 3, 0], ['raw IP', AF_INET, SOCK_RAW, 1], ['the crypto interface', 38, 5, 0],
  ['the hypervisor', 40, SOCK_STREAM, 0], ['keys', 15, 3, 2], ['XDP', 44, 3, 0];
# The kernel looks at the lower 32 bits of a family alone; a filter that compares all 64 lets these pass.
for my $family (17, 15, 38, 40, 44) {
  denied("socket of family $family, by $_->[0]", $_->[1], $_->[2] | $family, 3, 0, 0)
    for ['socket', 41, 0], ['socket with more bits', 41, 1 << 32], ['socket with all bits', 41, 0xffffffff << 32],
    ['socketpair', 53, 0], ['socketpair with more bits', 53, 1 << 32];
}
socket(my $abstract, AF_UNIX, SOCK_STREAM, 0);
held('abstract socket of the host', !connect($abstract, pack_sockaddr_un("\0$ENV{HOST_ABSTRACT}")));
socket(my $tcp, AF_INET, SOCK_STREAM, 0);
held('port of the host', !connect($tcp, pack_sockaddr_in($ENV{HOST_PORT}, inet_aton('127.0.0.1'))));
socket(my $fabric, AF_UNIX, SOCK_STREAM, 0);
held('socket of another app', !connect($fabric, pack_sockaddr_un($ENV{NEIGHBOUR})));
held('names of other apps', !(grep { !/^\.\.?$/ } do { opendir(my $peers, '/run/shoal-peers'); readdir $peers }));

# Room.
my $written = 0;
my $file;
if (open($file, '>', '/tmp/big')) { my $block = 'x' x 1048576; $written++ while $written < 400 && syswrite($file, $block); }
held('fill /tmp', $written <= 256);
unlink '/tmp/big';
$written = 0;
if (open($file, '>', '/dev/shm/big')) { my $block = 'x' x 1048576; $written++ while $written < 200 && syswrite($file, $block); }
held('fill /dev/shm', $written > 0 && $written <= 64);
unlink '/dev/shm/big';
my @terminals;
while (@terminals < 200 && sysopen(my $terminal, '/dev/ptmx', 2)) { push @terminals, $terminal; }
held('all terminals: ' . @terminals, @terminals > 0 && @terminals <= 32);
undef @terminals;
my @files;
while (@files < 70000 && open(my $one, '<', '/dev/null')) { push @files, $one; }
held('all open files: ' . @files, @files > 0 && @files <= 65536);
undef @files;
my ($forks, @children) = (0);
while ($forks < 5000) {
  my $child = fork;
  last unless defined $child;
  if ($child == 0) { sleep 60; exit }
  $forks++;
  push @children, $child;
}
held("fork bomb of $forks", $forks > 0 && $forks < 520);
kill 9, @children;
1 while wait != -1;
print "that was all\n";
sleep 1000;
