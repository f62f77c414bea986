# Runs what the driver asks for on the serial port named "lab", one line for each request, and answers there. Output goes
# to files that the driver sees. When the driver goes, the port ends, and so does the machine.
#   run ID              runs /run/lab/HOST/ID/command, which says "started ID PID"; at its end: "done ID CODE"
#   kill PID SIGNAL     to the command with that process id and all that it started in its session
#   answer NAME CODE    wakes an `on` that waits on the FIFO of that name
#   off                 ends the machine
#   reboot              in good order, under systemd: QEMU ends, and the driver starts it again
for each in /sys/class/virtio-ports/*; do
  read -r name <"$each/name"
  [ "$name" = lab ] && port=/dev/${each##*/}
done
# Many write, the port can be open once: what is said goes through a FIFO.
mkdir -p /run/lab-asks
mkfifo /run/lab-say
exec 3<>"$port" 4<>/run/lab-say
cat <&4 >&3 &
exec 4>&-

run() {
  folder=/run/lab/$LAB_HOST/$1
  setsid sh "$folder/command" </dev/null >"$folder/stdout" 2>"$folder/stderr" 3>&-
  echo "done $1 $?" >/run/lab-say
}

echo ready >/run/lab-say
while read -r what id rest <&3; do
  case $what in
    run) run "$id" & ;;
    kill) kill -s "$rest" -- "-$id" ;;
    answer) echo "$rest" >"/run/lab-asks/$id" & ;;
    off) break ;;
    reboot) systemctl reboot ;;
  esac
done
sync
echo o >/proc/sysrq-trigger
