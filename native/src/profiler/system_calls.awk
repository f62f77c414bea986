# The preprocessor's definitions of asm/unistd.h in, "{number, name}," for each system call out.
$1 == "#define" && $2 ~ /^__NR_/ && $3 ~ /^[0-9]+$/ { printf "{%s, \"%s\"},\n", $3, substr($2, 6) }
