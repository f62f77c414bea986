#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::symbols {

/** A part of a process's memory that may be executed. */
struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t fileOffset = 0;
  /** 0 for memory without a file. */
  uint64_t inode = 0;
  /** As the process sees it; empty for memory without a name. */
  std::string path;
};

/** The executable mappings of a text in the form of /proc/PID/maps (proc(5)), in its order, which is that of addresses.
 */
std::vector<Mapping> parseMappings(std::string_view text);

/** Null when no mapping holds the address. */
const Mapping* findMapping(const std::vector<Mapping>& mappings, uint64_t address);

}  // namespace shoal::symbols
