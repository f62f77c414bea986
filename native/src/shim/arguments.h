#pragma once

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shoal::shim {

/** What the agent tells the shim on its command line; see kUsage in arguments.cc. */
struct Arguments {
  std::string directory;
  std::string cgroup;
  std::string id;
  std::string crun;
  std::string crunRoot;
  /** Size at which the log is rotated, and how many files are kept, the current one included. */
  uint64_t logBytes = 0;
  uint64_t logFiles = 0;
  /** The instance ends when the lease that is written there is over; empty: it needs none. */
  std::string lease;
  /** The number of the signal that asks the container to end. */
  int stopSignal = SIGTERM;
};

/** The arguments (without the program's name), or nothing with the reason in `problem`. Every option but --lease and
 * --stop-signal is needed. */
std::optional<Arguments> parseArguments(const std::vector<std::string>& words, std::string& problem);

/** How the program is called, for people. */
const char* usage();

}  // namespace shoal::shim
