/** Waits NAPS times for 20 ms in nap(), says so, and ends. The system call is made here: the library has no frames. */
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

#define NAPS 25

__attribute__((noinline)) long nap(void) {
  const struct timespec span = {0, 20 * 1000 * 1000};
  long result = SYS_nanosleep;
  __asm__ volatile("syscall" : "+a"(result) : "D"(&span), "S"(0) : "rcx", "r11", "memory");
  return result;
}

int main(void) {
  for (int i = 0; i < NAPS; i += 1) nap();
  puts("done");
  return 0;
}
