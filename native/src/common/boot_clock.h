#pragma once

#include <cstdint>
#include <ctime>

namespace shoal {

/** Milliseconds since the machine was booted, those that it slept included: no change of the date moves them. */
inline int64_t bootMs() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace shoal
