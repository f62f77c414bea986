/** Spends 60, 30 and 10 percent of its CPU time in functions of these names, each called by work(). C and C++. */
static volatile unsigned long sink;

/* Each round waits for the one before it: a multiplication takes as long wherever the code lies. */
#define SPEND(name, rounds)                                                                                  \
  __attribute__((noinline)) void name(void) {                                                                \
    unsigned long value = sink;                                                                              \
    for (int round = 0; round < rounds; round += 1) value = (value ^ (value >> 29)) * 6364136223846793005UL; \
    sink = value;                                                                                            \
  }

SPEND(sixty, 60000)
SPEND(thirty, 30000)
SPEND(ten, 10000)

/* It writes at its end, so that the last call is no jump, which would leave no trace of this function. */
__attribute__((noinline)) void work(void) {
  sixty();
  thirty();
  ten();
  sink += 1;
}

int main(void) {
  for (;;) work();
}
