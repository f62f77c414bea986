/** How an end waits: when it spins and when it sleeps, by a clock that the test moves; and what it makes of its bell.
 */
#include "fabric/wait.h"

#include <cstdio>
#include <vector>

#include "check.h"

using namespace shoal::fabric;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

namespace {

/** Moves on by 1 µs each time it is looked at. */
struct Clock {
  using duration = nanoseconds;
  using time_point = std::chrono::time_point<Clock, duration>;
  static inline time_point at{};
  static time_point now() { return at += microseconds(1); }
};
using Spin = BasicSpin<Clock>;

constexpr microseconds kMost{50};

/** One wait; how often it looked before it slept, or was ready. */
struct Waited {
  int looks = 0;
  bool slept = false;
};

/** `readyAfter`: ready at the look after so many; `sleepFor`: how long the sleep takes. */
Waited wait(Spin& spin, int readyAfter, nanoseconds sleepFor) {
  Waited waited;
  const Wait result = spin.wait([&] { return waited.looks++ >= readyAfter; },
                                [&] {
                                  waited.slept = true;
                                  Clock::at += sleepFor;
                                  return Wait::peerGone;
                                });
  CHECK(result == (waited.slept ? Wait::peerGone : Wait::ready));
  return waited;
}

constexpr int kNever = 1 << 30;

void testWhoIsReadyDoesNotWait() {
  Spin spin(kMost);
  const auto before = Clock::at;
  CHECK(!wait(spin, 0, {}).slept && Clock::at == before);
}

void testWithoutABoundNobodySpins() {
  Spin spin(nanoseconds{0});
  for (int i = 0; i < 100; ++i) {
    const Waited waited = wait(spin, kNever, kMost);
    CHECK(waited.slept && waited.looks == 1);
  }
}

void testASpinIsBounded() {
  Spin spin(kMost);
  const auto before = Clock::at;
  const Waited waited = wait(spin, kNever, {});
  CHECK(waited.slept && waited.looks > 1);
  CHECK(Clock::at - before <= kMost + microseconds(3));
}

/** Long waits end the spinning but for a probe now and then; a probe that pays begins it again. */
void testSpinsWhileThatPays() {
  Spin spin(kMost);
  int waits = 0;
  while (wait(spin, kNever, 10 * kMost).looks > 1) CHECK(++waits < 20);
  for (int round = 0; round < 3; ++round) {
    int spun = 0;
    for (int i = 0; i < 160; ++i) spun += wait(spin, kNever, 10 * kMost).looks > 1;
    CHECK(spun == 10);
  }
  int tried = 0;
  while (wait(spin, 5, 10 * kMost).slept) CHECK(++tried < 16);
  for (int i = 0; i < 100; ++i) CHECK(!wait(spin, 5, 10 * kMost).slept);
}

/** An end of a ring and its bell; what happens to them in order. */
struct End {
  /** What each strike of the bell is. */
  std::vector<Wait> strikes;
  /** What is there after so many strikes. */
  size_t readyAfter = 0;
  size_t heard = 0;
  bool announced = false;

  bool ready() const { return heard >= readyAfter; }
  bool announceSleep() {
    CHECK(!announced);
    announced = !ready();
    return announced;
  }
  void cancelSleep() {
    CHECK(announced);
    announced = false;
  }
  bool announceWait(uint32_t) { return announceSleep(); }
  void cancelWait() { cancelSleep(); }
  Wait listen(int timeoutMs) {
    CHECK(announced && timeoutMs == 7);
    return strikes.at(heard++);
  }
};

void testSleepsUntilThereIsSomething() {
  using enum Wait;
  struct Case {
    std::vector<Wait> strikes;
    size_t readyAfter;
    Wait record;
    Wait room;
  };
  const Case cases[] = {
      {{}, 0, ready, ready},                                   // came before it slept
      {{ready}, 1, ready, ready},                              // was woken
      {{ready, ready, ready}, 3, ready, ready},                // strikes that are for nothing
      {{timeout}, 9, timeout, timeout},                        //
      {{ready, timeout}, 9, timeout, timeout},                 //
      {{peerGone}, 9, peerGone, peerGone},                     //
      {{peerGone}, 1, /* its last words */ ready, peerGone},   // room is of no use with the peer gone
      {{timeout}, 1, /* at the last moment */ ready, timeout}  // the caller looks for room itself
  };
  for (const auto& [strikes, readyAfter, record, room] : cases) {
    End consumer{strikes, readyAfter};
    CHECK(sleepUntilRecord(consumer, consumer, 7) == record && !consumer.announced);
    End producer{strikes, readyAfter};
    CHECK(sleepUntilRoom(producer, producer, 8, 7) == room && !producer.announced);
  }
}

}  // namespace

int main() {
  testWhoIsReadyDoesNotWait();
  testWithoutABoundNobodySpins();
  testASpinIsBounded();
  testSpinsWhileThatPays();
  testSleepsUntilThereIsSomething();
  std::puts("wait_test: all passed");
}
