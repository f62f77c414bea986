#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::shim {

/** How an instance ended; what exit.json says. */
struct Outcome {
  enum class Reason { exited, signalled, startFailed };
  Reason reason = Reason::startFailed;
  std::optional<int> code;
  std::optional<int> signal;
  std::string detail;
};

/** The outcome of a container whose first process ended with this wait status. */
Outcome outcomeOfStatus(int waitStatus);

/** What a cgroup has met for want of memory, by its memory.events (Documentation/admin-guide/cgroup-v2.rst). */
struct MemoryEvents {
  /** How often there was nothing left below its own memory.max. */
  unsigned atLimit = 0;
  /** How often the kernel has killed one of its processes: for that reason, or since the host had no memory left. */
  unsigned kills = 0;
};

/** By the text of the file. */
MemoryEvents memoryEvents(std::string_view text);

/**
 * What an end has to do with these events since the container began; empty: nothing. Processes of others in its cgroup
 * may have been killed, such as those of `shoal exec`.
 */
std::string memoryDetail(const Outcome& outcome, const MemoryEvents& events);

/** The outcome of a container that crun could not start. */
Outcome startFailed(std::string detail);

/** One JSON object on one line: `{"code":…,"signal":…,"reason":"…","detail":"…"}`. */
std::string toJson(const Outcome& outcome);

/** What crun said last in its JSON log: its last error, else its last message; empty when it said nothing. */
std::string crunMessage(std::string_view log);

/** In words how crun ended, such as `crun was killed by signal 9`. */
std::string describeCrunStatus(int waitStatus);

}  // namespace shoal::shim
