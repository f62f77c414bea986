#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "fabric/ring.h"

/** How an end waits: spins as long as that has been paying, then announces that it sleeps and listens to its bell. */
namespace shoal::fabric {

enum class Wait { ready, peerGone, timeout };

/**
 * Spinning pays while waits are shorter than a wake-up through the kernel. What waits took is remembered as a moving
 * average; while that is longer than the bound nobody spins, thus an idle end costs no CPU. Two ends that both sleep
 * see waits as long as two wake-ups and would never find out that they could spin: therefore one of kWaitsPerProbe
 * waits is spun all the same, and when that pays the end spins from then on.
 */
template <class Clock>
class BasicSpin {
 public:
  /** `most`: as long as the spin may last; 0 for never. */
  explicit BasicSpin(std::chrono::nanoseconds most) : most_(most) {}

  /** Until `ready` is true, by spinning or else by `sleep`, whose answer is passed on. */
  template <class Ready, class Sleep>
  Wait wait(Ready ready, Sleep sleep) {
    if (ready()) return Wait::ready;
    const typename Clock::time_point began = Clock::now();
    const bool probes = average_ >= most_ && ++waits_ % kWaitsPerProbe == 0;
    // After a spin the last look at the clock will do: another would cost as much as the message.
    for (typename Clock::time_point now = began; (probes || average_ < most_) && now - began < most_;
         now = Clock::now()) {
      for (int i = 0; i < kLooksPerClock; ++i) {
        if (ready()) {
          if (probes) average_ = now - began;
          remember(now - began);
          return Wait::ready;
        }
        relax();
      }
    }
    const Wait result = sleep();
    remember(Clock::now() - began);
    return result;
  }

 private:
  static constexpr int kLooksPerClock = 64;
  static constexpr uint32_t kWaitsPerProbe = 16;

  /** A long idle time counts as four times the bound, so that a busy time after it is noticed soon. */
  void remember(std::chrono::nanoseconds took) { average_ += (std::min(took, 4 * most_) - average_) / 8; }

  /** Tells the processor that this is a spin. */
  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  std::chrono::nanoseconds most_;
  std::chrono::nanoseconds average_{0};
  /** While nobody spins. */
  uint32_t waits_ = 0;
};
using Spin = BasicSpin<std::chrono::steady_clock>;

/** Sleeps until next() has something to look at. What a peer published before it went is still ready. */
template <class Consumer, class Bell>
Wait sleepUntilRecord(Consumer& consumer, Bell& bell, int timeoutMs) {
  Wait heard = Wait::ready;
  while (heard == Wait::ready) {
    if (!consumer.announceSleep()) return Wait::ready;
    heard = bell.listen(timeoutMs);
    consumer.cancelSleep();
    if (consumer.ready()) return Wait::ready;
  }
  return heard;
}

/** Sleeps until a loan of `length` bytes succeeds. All that was committed must have been published. */
template <class Producer, class Bell>
Wait sleepUntilRoom(Producer& producer, Bell& bell, uint32_t length, int timeoutMs) {
  Wait heard = Wait::ready;
  while (heard == Wait::ready) {
    if (!producer.announceWait(length)) return Wait::ready;
    heard = bell.listen(timeoutMs);
    producer.cancelWait();
  }
  return heard;
}

/** Until next() has something to look at. Whatever was taken must have been released. */
template <class Consumer, class Bell>
Wait waitForRecord(Consumer& consumer, Bell& bell, Spin& spin, int timeoutMs) {
  const auto look = [&consumer] { return consumer.ready(); };
  return spin.wait(look, [&] { return sleepUntilRecord(consumer, bell, timeoutMs); });
}

/** Until a loan of `length` bytes succeeds. All that was committed must have been published. */
template <class Producer, class Bell>
Wait waitForRoom(Producer& producer, Bell& bell, Spin& spin, uint32_t length, int timeoutMs) {
  const auto look = [&] { return producer.hasRoom(length); };
  return spin.wait(look, [&] { return sleepUntilRoom(producer, bell, length, timeoutMs); });
}

}  // namespace shoal::fabric
