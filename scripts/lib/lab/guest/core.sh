# The kernel pipes a core dump in here: host name, program, process id.
exec cat >"/run/lab/cores/$1-$2-$3"
