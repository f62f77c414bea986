/** Runs for some milliseconds of CPU time in a function called NAME, and ends. */
#include <time.h>

static volatile unsigned long sink;

__attribute__((noinline)) void NAME(void) {
  for (int round = 0; round < 100000; round += 1) sink += round;
}

int main(void) {
  while (clock() < CLOCKS_PER_SEC / 50) NAME();
}
