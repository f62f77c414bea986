/** Spends the first 60 percent of each span of NANOSECONDS by the clock in sixty(), the next 30 in thirty(), the rest
 * in ten(): always in step with whoever looks once in such a span. */
#include <time.h>

static volatile unsigned long sink;

#define SPEND(name)                                                    \
  __attribute__((noinline)) void name(void) {                          \
    for (int round = 0; round < 2000; round += 1) sink = sink * 3 + 1; \
  }

SPEND(sixty)
SPEND(thirty)
SPEND(ten)

static long nanoseconds_of_span(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec * 1000000000L + now.tv_nsec) % NANOSECONDS;
}

int main(void) {
  for (;;) {
    const long at = nanoseconds_of_span();
    if (at < NANOSECONDS / 10 * 6)
      sixty();
    else if (at < NANOSECONDS / 10 * 9)
      thirty();
    else
      ten();
  }
}
