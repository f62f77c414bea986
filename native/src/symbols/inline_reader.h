#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "symbols/inline_answer.h"

namespace shoal::symbols {

/**
 * Which functions were inlined at addresses of a file, by its DWARF debug information. The file comes from a container,
 * so it is read by a process that can do nothing else (shoal-inlines): whatever becomes of that one, there is an answer
 * or none, in bounded time.
 */
class InlineReader {
 public:
  /** `program`: path of shoal-inlines; empty: nothing is ever known. */
  explicit InlineReader(std::string program) : program_(std::move(program)) {}

  bool isThere() const { return !program_.empty(); }
  /** Empty, or why it cannot run here. */
  std::string problem() const;
  struct Answer {
    /** Of each address. */
    std::vector<InlinedFunctions> inlined;
    /** Of some it is in files of its own for each unit, which are not read. */
    bool isSplit = false;
  };
  /** Of at most kInlineAddressesMax addresses; none when the file could not be read so far. */
  std::optional<Answer> read(int file, const std::vector<uint64_t>& addresses);
  /** CPU time that all reading has taken. */
  std::chrono::microseconds spent() const { return spent_; }

 private:
  std::string program_;
  std::chrono::microseconds spent_{};
};

}  // namespace shoal::symbols
