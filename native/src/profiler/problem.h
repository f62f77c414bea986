#pragma once

#include <string>

namespace shoal::profiler {

/** Why something does not work here: an errno, and the call that failed. */
struct Problem {
  int number = 0;
  std::string call;
  explicit operator bool() const { return number != 0; }
};

}  // namespace shoal::profiler
