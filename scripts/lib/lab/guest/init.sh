#!/bin/busybox sh
# The first program of a machine, in its initramfs: puts a writable layer, in memory or on the machine's disk, over the root
# file system of the host, which QEMU shares read-only, and goes on there. Any failure ends it, and with it the machine.
set -e
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t devtmpfs dev /dev
if [ "$LAB_PROBE" = 1 ]; then
  echo 'lab: up' >/dev/ttyS0
  /bin/busybox poweroff -f
fi
options=trans=virtio,version=9p2000.L,msize=512000
/bin/busybox mount -t 9p -o "$options,ro,cache=loose" root /lower
if [ "$LAB_DISK" = 1 ]; then
  for module in /disk-modules/*; do /bin/busybox insmod "$module"; done
  /bin/busybox mount -t ext4 /dev/vda /upper
else
  /bin/busybox mount -t tmpfs -o size=75% upper /upper
fi
[ -d /upper/files ] || first_boot=yes
/bin/busybox mkdir -p /upper/files /upper/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new
# What the host's own Shoal keeps would be this machine's, too.
[ -z "$first_boot" ] || /bin/busybox rm -rf /new/var/lib/shoal* /new/etc/shoal
/bin/busybox mount --move /dev /new/dev
/bin/busybox mkdir -p /new/dev/pts /new/dev/shm /new/dev/mqueue
/bin/busybox mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
/bin/busybox mount -t tmpfs -o mode=1777 shm /new/dev/shm
/bin/busybox mount -t mqueue mqueue /new/dev/mqueue
/bin/busybox mount -t proc proc /new/proc
/bin/busybox mount -t sysfs sysfs /new/sys
# Pure cgroup v2, mounted as systemd mounts it.
/bin/busybox mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /new/sys/fs/cgroup
/bin/busybox mount -t bpf bpf /new/sys/fs/bpf
/bin/busybox mount -t tracefs tracefs /new/sys/kernel/tracing
/bin/busybox mount -t tmpfs -o mode=755 run /new/run
/bin/busybox mkdir /new/run/lab
# Without a cache: the host sees what is written as it is written.
/bin/busybox mount -t 9p -o "$options,cache=none" share /new/run/lab
exec /bin/busybox switch_root /new /bin/sh /run/lab/guest/start.sh
