/** Spends 60, 30 and 10 percent of its CPU time in functions of these names, each called by work(). C and C++. */
static volatile unsigned long sink;

/* From turn to turn the length differs by lot: a load with a period of its own falls in step with the clock that
 * samples it, and a thousand samples then hit a few places only. */
static unsigned long lots = 1;
static int length;

static void draw_length(void) {
  lots = lots * 6364136223846793005UL + 1442695040888963407UL;
  length = 5000 + (int)((lots >> 33) % 10000);
}

/* Each round waits for the one before it: a multiplication takes as long wherever the code lies. */
#define SPEND(name, tenths)                                                                                           \
  __attribute__((noinline)) void name(void) {                                                                         \
    unsigned long value = sink;                                                                                       \
    for (int round = 0; round < tenths * length; round += 1) value = (value ^ (value >> 29)) * 6364136223846793005UL; \
    sink = value;                                                                                                     \
  }

SPEND(sixty, 6)
SPEND(thirty, 3)
SPEND(ten, 1)

/* It writes at its end, so that the last call is no jump, which would leave no trace of this function. */
__attribute__((noinline)) void work(void) {
  sixty();
  thirty();
  ten();
  sink += 1;
}

int main(void) {
  for (;;) {
    draw_length();
    work();
  }
}
