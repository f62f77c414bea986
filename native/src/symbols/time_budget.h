#pragma once

#include <algorithm>
#include <chrono>

namespace shoal::symbols {

/** Time that some work may take: a share of all time in the long run, of which some is saved up while there is no work.
 */
class TimeBudget {
 public:
  using Clock = std::chrono::steady_clock;

  /** `share`: of the time that passes. Begins with all that is ever saved. */
  TimeBudget(double share, Clock::duration savedMost, Clock::time_point now)
      : share_(share), savedMost_(savedMost), left_(savedMost), seen_(now) {}

  /** Whether work may begin, which may take more than there is: the next one waits for longer then. */
  bool isLeft(Clock::time_point now) {
    left_ = std::min(savedMost_, left_ + std::chrono::duration_cast<Clock::duration>((now - seen_) * share_));
    seen_ = now;
    return left_ > Clock::duration::zero();
  }

  void spend(Clock::duration time) { left_ -= time; }

 private:
  double share_;
  Clock::duration savedMost_;
  Clock::duration left_;
  Clock::time_point seen_;
};

}  // namespace shoal::symbols
