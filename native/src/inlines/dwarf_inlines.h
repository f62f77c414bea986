#pragma once

#include <elfutils/libdw.h>

#include <cstdint>
#include <vector>

#include "symbols/inline_answer.h"

namespace shoal::inlines {

/** Which functions were inlined, by what DWARF says in DW_TAG_inlined_subroutine (version 2 to 5). */
class DwarfInlines {
 public:
  /** Reads the units that hold these addresses. */
  DwarfInlines(Dwarf* dwarf, const std::vector<uint64_t>& addresses);
  /** At one of them, innermost first. */
  symbols::InlinedFunctions at(uint64_t address) const;
  /** Whether some of them are of units whose debug information is in files of its own (-gsplit-dwarf), which are not
   * read. */
  bool isSplit() const { return isSplit_; }

 private:
  struct FunctionRange {
    uint64_t begin;
    uint64_t end;
    Dwarf_Die die;
  };

  void readFunctions(Dwarf_Die parent, unsigned depth);

  std::vector<FunctionRange> functions_;
  bool isSplit_ = false;
};

}  // namespace shoal::inlines
