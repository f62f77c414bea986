# Hands over to systemd, which starts nothing but what Shoal's own units may need and what is enabled in the machine: what
# makes and cleans files and devices, keeps time and names, or runs by the clock is for a host that lives longer.
units=/run/systemd/system
mkdir -p "$units" /run/systemd/system.conf.d
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysusers.service ldconfig.service \
  systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  systemd-timesyncd.service systemd-resolved.service systemd-networkd.service systemd-remount-fs.service \
  systemd-random-seed.service systemd-update-utmp.service systemd-modules-load.service systemd-binfmt.service \
  proc-sys-fs-binfmt_misc.automount modprobe@.service dev-hugepages.mount sys-fs-fuse-connections.mount \
  systemd-journal-flush.service systemd-machine-id-commit.service systemd-firstboot.service; do
  ln -s /dev/null "$units/$unit"
done
# Emulated, all takes its time.
printf '[Manager]\nDefaultTimeoutStartSec=300\n' >/run/systemd/system.conf.d/lab.conf
cat >"$units/lab.service" <<UNIT
[Unit]
Description=Takes commands from the driver of the virtual rack
[Service]
Environment=LAB_HOST=$LAB_HOST PATH=$PATH HOME=$HOME
ExecStart=/bin/sh /run/lab/guest/serve.sh
LimitMEMLOCK=infinity
LimitNOFILE=1048576
LimitCORE=infinity
UNIT
mkdir "$units/multi-user.target.wants"
ln -s ../lab.service "$units/multi-user.target.wants/"
# What this host has enabled is not for the machine; what is enabled there comes up with it the next time.
if [ ! -e /etc/lab-booted ]; then
  for target in multi-user timers; do rm -f "/lib/systemd/system/$target.target.wants/"*; done
  rm -f /etc/systemd/system/*.wants/*
  : >/etc/lab-booted
fi
: >/etc/machine-id
: >/etc/fstab
exec /lib/systemd/systemd --unit=multi-user.target --show-status=no
