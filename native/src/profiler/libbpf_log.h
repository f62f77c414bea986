#pragma once

#include <string>

namespace shoal::profiler {

/** From here on libbpf's own words are kept instead of printed; forgets what was kept. */
void keepLibbpfLog();

/** The end of what libbpf said: why a program does not load is said there only. */
const std::string& libbpfLog();

}  // namespace shoal::profiler
