/**
 * Spends 60, 30 and 10 percent of its CPU time in functions of these names, each called in a way of its own that leaves
 * no frame pointers: through a library's sort, through a stack that is aligned anew, out of a signal's handler.
 */
#include <csignal>
#include <cstdlib>

static volatile unsigned long sink;

/* From turn to turn the length differs by lot: a load with a period of its own falls in step with the clock that
 * samples it, and a thousand samples then hit a few places only. */
static unsigned long lots = 1;
static int length;

static void draw_length() {
  lots = lots * 6364136223846793005UL + 1442695040888963407UL;
  length = 5000 + (int)((lots >> 33) % 10000);
}

/* Each round waits for the one before it: a multiplication takes as long wherever the code lies. */
#define SPEND(name, tenths)                                                                                           \
  __attribute__((noinline)) void name() {                                                                             \
    unsigned long value = sink;                                                                                       \
    for (int round = 0; round < tenths * length; round += 1) value = (value ^ (value >> 29)) * 6364136223846793005UL; \
    sink = value;                                                                                                     \
  }

SPEND(sixty, 6)
SPEND(thirty, 3)
SPEND(ten, 1)

/* They write at their end, so that the last call is no jump, which would leave no trace of them. */
#define DONE sink = sink + 1

static int compare(const void* a, const void* b) {
  sixty();
  DONE;
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

__attribute__((noinline)) static void sorts() {
  int two[] = {2, 1};
  qsort(two, 2, sizeof *two, compare);
  DONE;
}

__attribute__((noinline)) static void aligns(int count) {
  alignas(64) volatile char aligned[64] = {};
  auto* room = static_cast<volatile char*>(__builtin_alloca(static_cast<size_t>(count) * 16));
  room[0] = 1;
  thirty();
  aligned[0] = room[0];
  DONE;
}

static void handle(int) {
  ten();
  DONE;
}

__attribute__((noinline)) static void signals() {
  raise(SIGUSR1);
  DONE;
}

int main(int count, char**) {
  signal(SIGUSR1, handle);
  for (;;) {
    draw_length();
    sorts();
    aligns(count);
    signals();
  }
}
