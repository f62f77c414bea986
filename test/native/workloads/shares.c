/** Spends 60, 30 and 10 percent of its CPU time in functions of these names, each called by work(). C and C++.
 * With INLINED they are parts of work(). */
static volatile unsigned long sink;

/* From turn to turn the length differs by lot: a load with a period of its own falls in step with the clock that
 * samples it, and a thousand samples then hit a few places only. */
static unsigned long lots = 1;
static int length;

static void draw_length(void) {
  lots = lots * 6364136223846793005UL + 1442695040888963407UL;
  length = 1600 + (int)((lots >> 33) % 3200);
}

#define INLINE static inline __attribute__((always_inline))
#ifdef INLINED
#define PLACED INLINE
#else
#define PLACED __attribute__((noinline))
#endif

/* Each waits for the one before it: a multiplication takes as long wherever the code lies. Three, so that most of a
 * loop are its instructions: at which of them a processor lets itself be interrupted differs from run to run. */
INLINE unsigned long step(unsigned long value) {
  for (int i = 0; i < 3; i += 1) value = (value ^ (value >> 29)) * 6364136223846793005UL;
  return value;
}

#define SPEND(name, tenths)                                                       \
  PLACED void name(void) {                                                        \
    unsigned long value = sink;                                                   \
    for (int round = 0; round < tenths * length; round += 1) value = step(value); \
    sink = value;                                                                 \
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
