# Goes on in the host's root file system: host name, network with names, soft-RoCE. Then serves commands.
set -e
. /run/lab/rack.env
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

ln -s /proc/self/fd /dev/fd

echo "$LAB_HOST" >/etc/hostname
echo "$LAB_HOST" >/proc/sys/kernel/hostname
cp /run/lab/hosts /etc/hosts
echo '|/bin/sh /run/lab/guest/core.sh %h %e %P' >/proc/sys/kernel/core_pattern
ulimit -l unlimited
ulimit -Hn 1048576

mkdir -p /lib/modules
ln -sfn "$LAB_MODULES" "/lib/modules/$(uname -r)"
ip link set lo up
ip link set eth0 up
ip address add "10.0.0.${LAB_HOST#h}/24" dev eth0
modprobe -a rdma_rxe rdma_ucm
rdma link add rxe0 type rxe netdev eth0

ln -sfn /run/lab/guest/on.sh /usr/local/bin/on
if [ "$LAB_SYSTEMD" = 1 ]; then exec /bin/sh /run/lab/guest/systemd.sh; fi
exec /bin/sh /run/lab/guest/serve.sh
