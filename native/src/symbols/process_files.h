#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/unique_fd.h"
#include "symbols/mappings.h"

/** What is read of a process in a container, never following a path by which it could lead us elsewhere. */
namespace shoal::symbols {

/** Whether the process with this pid is the one that began at this time of CLOCK_BOOTTIME, in ns. */
bool isProcess(pid_t pid, uint64_t startNanoseconds);

/** What is to be had of the file, from its beginning; at most about so many bytes. */
std::string readText(const std::string& path, size_t bytesMax);

/** A file of /proc/PID. Empty when it is gone or there is none. */
std::string readProcText(pid_t pid, const char* name);

/** The file behind a mapping, also one that was replaced or removed since; invalid when it cannot be had. */
UniqueFd openMapped(pid_t pid, const Mapping& mapping);

/** The file at the path within the process's root, of which no link leads out; invalid when it cannot be had. */
UniqueFd openInRoot(pid_t pid, const std::string& path);

/** The process's own map of functions made at run time, /tmp/perf-PID.map by its own pid there; invalid without one. */
UniqueFd openPerfMap(pid_t pid);

}  // namespace shoal::symbols
