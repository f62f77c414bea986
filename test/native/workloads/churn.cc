/**
 * Begins processes without end that each spend a little CPU time deep in callers without frame pointers, and end in the
 * middle of it: killed, by exit, by another program in their place, by memory that is taken from under their callers,
 * or out of code that is mapped, called and unmapped again and again. Its argument: how many. Says so at its end.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

static volatile unsigned long sink;

static unsigned long lots = 1;

static unsigned draw(unsigned below) {
  lots = lots * 6364136223846793005UL + 1442695040888963407UL;
  return static_cast<unsigned>(lots >> 33) % below;
}

__attribute__((noinline)) static void burn(unsigned rounds) {
  for (unsigned round = 0; round < rounds; round += 1) sink = sink + round;
}

/* It writes at its end, so that the call is no jump. */
__attribute__((noinline)) static void dive(int depth, unsigned rounds) {
  if (depth == 0)
    burn(rounds);
  else
    dive(depth - 1, rounds);
  sink = sink + 1;
}

/** `mov ecx, 100000; loop: dec ecx; jnz loop; ret`, in memory that goes while its caller's stack is still looked at. */
static void map_and_call() {
  static const unsigned char code[] = {0xb9, 0xa0, 0x86, 0x01, 0x00, 0xff, 0xc9, 0x75, 0xfc, 0xc3};
  for (int round = 0; round < 20; round += 1) {
    void* memory = mmap(nullptr, sizeof code, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) _exit(1);
    std::memcpy(memory, code, sizeof code);
    reinterpret_cast<void (*)()>(memory)();
    munmap(memory, sizeof code);
  }
}

/** Where it is a caller of what runs, its stack goes: the walk meets memory that is not there. */
static void lose_stack() {
  const long page = sysconf(_SC_PAGESIZE);
  const auto here = reinterpret_cast<unsigned long>(__builtin_frame_address(0));
  munmap(reinterpret_cast<void*>((here | static_cast<unsigned long>(page - 1)) + 1), static_cast<size_t>(page));
  dive(30, 2'000'000);
  _exit(0);
}

static void live(unsigned kind, const char* self) {
  switch (kind) {
    case 0:
      dive(60, ~0U);
      break;
    case 1:
      dive(60, draw(3'000'000));
      break;
    case 2:
      dive(60, draw(1'000'000));
      execl(self, self, "0", nullptr);
      break;
    case 3:
      map_and_call();
      break;
    default:
      lose_stack();
  }
  _exit(0);
}

int main(int count, char** words) {
  const unsigned wanted = count == 2 ? static_cast<unsigned>(std::strtoul(words[1], nullptr, 10)) : 0;
  if (wanted == 0) dive(40, 1'000'000);
  for (unsigned i = 0; i < wanted; i += 1) {
    draw(2);
    const pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) live(i % 5, words[0]);
    if (i % 5 == 0) {
      usleep(draw(60'000));
      kill(child, SIGKILL);
    }
    waitpid(child, nullptr, 0);
  }
  if (wanted > 0) std::puts("done");
  return 0;
}
