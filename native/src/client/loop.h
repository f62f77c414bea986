#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/unique_fd.h"

/** The event loop of a component: descriptors, timers, and channels that may spin. One thread. */
namespace shoal::client {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/** Something with a descriptor. */
class Watched {
 public:
  virtual ~Watched() = default;
  /** `events` of epoll(7). */
  virtual void onEvents(uint32_t events) = 0;
};

/** Something whose news may come without an event, for as long as it is awake. */
class Awake {
 public:
  virtual ~Awake() = default;
  virtual bool ready() const = 0;
  virtual void work() = 0;
  /** False when there is news after all. */
  virtual bool sleep() = 0;
};

class Loop {
 public:
  using Timers = std::multimap<Clock::time_point, std::function<void()>>;
  using Timer = Timers::iterator;

  /** `spin`: how long at most to look for news before sleeping; 0: never. */
  explicit Loop(Clock::duration spin);

  bool valid() const { return epoll_.valid(); }
  int fd() const { return epoll_.get(); }

  /** Until forget(). False and errno when the kernel takes no more. */
  bool watch(int fd, uint32_t events, Watched* watched);
  void change(int fd, uint32_t events, Watched* watched);
  void forget(int fd, Watched* watched);

  Timer after(Clock::duration delay, std::function<void()> action);
  void cancel(Timer timer) { timers_.erase(timer); }

  void wake(Awake* line);
  void drop(Awake* line);

  /** Kept until no callback runs, since one of its own may be running. */
  void bury(std::shared_ptr<void> dead) { dead_.push_back(std::move(dead)); }

  /** Waits for work, at most so long, and does it. */
  void step(milliseconds longest);

 private:
  bool workAwake();
  bool spinAwake();
  bool sleepAwake();
  void runTimers();
  int waitMs(milliseconds longest) const;

  UniqueFd epoll_;
  Timers timers_;
  std::vector<Awake*> awake_;
  std::vector<std::shared_ptr<void>> dead_;
  /** Of the events under way, whose owner may go meanwhile. */
  std::vector<Watched*> pending_;
  Clock::duration spinMax_;
  /** Moving average of how long there was nothing to do. */
  Clock::duration average_{0};
  unsigned waits_ = 0;
};

}  // namespace shoal::client
