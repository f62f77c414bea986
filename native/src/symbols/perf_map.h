#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace shoal::symbols {

/**
 * Functions compiled at run time, as a virtual machine tells them in /tmp/perf-PID.map: lines of start, length (both
 * hexadecimal) and name. What comes later holds where it lies over what came before, since memory is used again.
 * The text comes from a container: lines that are not of this form are left out, and amounts are bounded.
 */
class PerfMap {
 public:
  /** The next bytes of the file; they may end in the middle of a line. */
  void add(std::string_view text);
  /** Null when nothing was said of this address. */
  const std::string* find(uint64_t address) const;
  size_t entries() const { return entries_.size(); }

 private:
  struct Entry {
    uint64_t bytes = 0;
    std::string name;
  };
  void addLine(std::string_view line);
  void addEntry(uint64_t start, uint64_t bytes, std::string name);

  std::map<uint64_t, Entry> entries_;
  std::string begun_;
  /** The rest of a line that is too long is passed over. */
  bool skipping_ = false;
};

/** The name of a function as V8 tells it, without its marks of the compiler: `JS:*work /app/x.js:3:7` → `work
 * /app/x.js:3`. */
std::string plainName(std::string_view name);

}  // namespace shoal::symbols
