#include "fabric/bell.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace shoal::fabric {
namespace {

/** How many strikes one read takes back; more only cause a look for nothing. */
constexpr size_t kStrikesMax = 64;

}  // namespace

void Bell::strike() {
  const char strike = 1;
  // A full pipe is a bell that rings already, and listen() notices a dead peer.
  [[maybe_unused]] const ssize_t written = write(strike_.get(), &strike, 1);
}

Wait Bell::listen(int timeoutMs) {
  pollfd waited = {listen_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = poll(&waited, 1, timeoutMs);
  } while (ready < 0 && errno == EINTR);
  return ready == 0 ? Wait::timeout : hear();
}

Wait Bell::hear() {
  char strikes[kStrikesMax];
  const ssize_t heard = read(listen_.get(), strikes, sizeof strikes);
  if (heard < 0) return Wait::timeout;
  return heard == 0 ? Wait::peerGone : Wait::ready;
}

bool makeBells(UniqueFd (&strike)[2], UniqueFd (&listen)[2]) {
  for (int side = 0; side < 2; ++side) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    listen[1 - side].reset(ends[0]);
    strike[side].reset(ends[1]);
  }
  return true;
}

}  // namespace shoal::fabric
