#pragma once

namespace shoal::inlines {

/**
 * From here on this process can read and write what it has open and have a bounded amount of memory and CPU time, and
 * nothing else: no other file, process, socket or program (seccomp(2), setrlimit(2)). 0, or the number of the error.
 */
int confine();

}  // namespace shoal::inlines
