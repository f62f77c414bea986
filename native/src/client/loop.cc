#include "client/loop.h"

#include <sys/epoll.h>

#include <algorithm>

namespace shoal::client {
namespace {

constexpr int kEventsPerStep = 64;
constexpr int kLooksPerClock = 64;
/** Of so many waits that are slept one is spun all the same, to see whether that would pay by now (docs/fabric.md). */
constexpr unsigned kWaitsPerProbe = 16;

}  // namespace

Loop::Loop(Clock::duration spin) : epoll_(epoll_create1(EPOLL_CLOEXEC)), spinMax_(spin) {}

bool Loop::watch(int fd, uint32_t events, Watched* watched) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = watched;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::change(int fd, uint32_t events, Watched* watched) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = watched;
  // Fails only for a descriptor that is not watched.
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Loop::forget(int fd, Watched* watched) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  std::replace(pending_.begin(), pending_.end(), watched, static_cast<Watched*>(nullptr));
}

Loop::Timer Loop::after(Clock::duration delay, std::function<void()> action) {
  return timers_.emplace(Clock::now() + delay, std::move(action));
}

void Loop::wake(Awake* line) {
  if (std::find(awake_.begin(), awake_.end(), line) == awake_.end()) awake_.push_back(line);
}

void Loop::drop(Awake* line) { std::replace(awake_.begin(), awake_.end(), line, static_cast<Awake*>(nullptr)); }

void Loop::step(milliseconds longest) {
  const Clock::time_point began = Clock::now();
  const bool worked = workAwake() || (longest.count() != 0 && spinAwake() && workAwake());
  const int ms = worked || !sleepAwake() ? 0 : waitMs(longest);
  epoll_event events[kEventsPerStep];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerStep, ms);
  if (ms != 0) {
    // A long idle time counts as four times the bound, so that a busy time after it is noticed soon.
    average_ += (std::min(Clock::now() - began, 4 * spinMax_) - average_) / 8;
  }
  pending_.clear();
  for (int i = 0; i < count; ++i) pending_.push_back(static_cast<Watched*>(events[i].data.ptr));
  for (int i = 0; i < count; ++i) {
    Watched* const watched = pending_[static_cast<size_t>(i)];
    if (watched != nullptr) watched->onEvents(events[i].events);
  }
  runTimers();
  dead_.clear();
}

/** Whether there was something to do. */
bool Loop::workAwake() {
  bool any = false;
  for (size_t i = 0; i < awake_.size(); ++i) {
    if (awake_[i] == nullptr || !awake_[i]->ready()) continue;
    any = true;
    awake_[i]->work();
  }
  std::erase(awake_, nullptr);
  return any;
}

/** Looks for news for a moment, while it has been coming sooner than the kernel could wake us. */
bool Loop::spinAwake() {
  waits_ += 1;
  const bool probes = waits_ % kWaitsPerProbe == 0;
  if (awake_.empty() || spinMax_.count() == 0 || (average_ >= spinMax_ && !probes)) return false;
  const Clock::time_point began = Clock::now();
  for (Clock::time_point now = began; now - began < spinMax_; now = Clock::now()) {
    for (int look = 0; look < kLooksPerClock; ++look) {
      if (std::none_of(awake_.begin(), awake_.end(), [](const Awake* line) { return line->ready(); })) continue;
      const Clock::duration took = now - began;
      // What a spin has seen says more than waits that were slept, with the time that waking took.
      average_ = average_ >= spinMax_ ? took : average_ + (took - average_) / 8;
      return true;
    }
  }
  return false;
}

bool Loop::sleepAwake() {
  while (!awake_.empty()) {
    if (!awake_.back()->sleep()) return false;
    awake_.pop_back();
  }
  return true;
}

void Loop::runTimers() {
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    const auto node = timers_.extract(timers_.begin());
    node.mapped()();
  }
}

int Loop::waitMs(milliseconds longest) const {
  int64_t ms = longest.count();
  if (!timers_.empty()) {
    const Clock::duration left = std::max(Clock::duration::zero(), timers_.begin()->first - Clock::now());
    const int64_t first = std::chrono::ceil<milliseconds>(left).count();
    ms = ms < 0 ? first : std::min(ms, first);
  }
  return static_cast<int>(std::clamp<int64_t>(ms, -1, INT32_MAX));
}

}  // namespace shoal::client
