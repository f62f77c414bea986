#pragma once

#include <utility>

#include "common/unique_fd.h"
#include "fabric/wait.h"

namespace shoal::fabric {

/**
 * How one end wakes the other: a pair of pipes, one in each direction. A pipe and not an eventfd, because the two ends
 * of a pipe are two open files: the peer cannot turn our writes into blocking ones (it shares the flags of an eventfd),
 * and when it dies we read the end of the file.
 */
class Bell {
 public:
  /** `strike` and `listen` are non-blocking ends of the two pipes. */
  Bell(UniqueFd strike, UniqueFd listen) : strike_(std::move(strike)), listen_(std::move(listen)) {}

  /** Wakes the peer if it sleeps. Tells nothing of a dead one: listen() does. SIGPIPE must be ignored. */
  void strike();
  /** Until the peer strikes, is gone, or the time is over; -1 for ever. */
  Wait listen(int timeoutMs);
  /** listen() without waiting, for who knows that there is something to hear. */
  Wait hear();

  int strikeFd() const { return strike_.get(); }
  int listenFd() const { return listen_.get(); }

 private:
  UniqueFd strike_;
  UniqueFd listen_;
};

/** The bells of the two ends of a channel; nothing and errno when there are no descriptors left. */
bool makeBells(UniqueFd (&strike)[2], UniqueFd (&listen)[2]);

}  // namespace shoal::fabric
