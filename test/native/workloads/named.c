/** Runs for MILLISECONDS of CPU time in a function called NAME, and ends. */
#include <time.h>

static volatile unsigned long sink;

__attribute__((noinline)) void NAME(void) {
  for (int round = 0; round < 20000; round += 1) sink += round;
}

int main(void) {
  while (clock() < CLOCKS_PER_SEC / 1000 * MILLISECONDS) NAME();
}
