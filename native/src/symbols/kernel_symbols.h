#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::symbols {

/** The kernel's functions by /proc/kallsyms, whose addresses are zeros for those who may not know them (kptr_restrict).
 */
class KernelSymbols {
 public:
  static KernelSymbols parse(std::string_view text);
  /** Empty when it is not known. */
  std::string_view find(uint64_t address) const;
  bool known() const { return !functions_.empty(); }

 private:
  struct Function {
    uint64_t address = 0;
    uint32_t name = 0;
    uint32_t bytes = 0;
  };
  std::vector<Function> functions_;
  std::string names_;
};

}  // namespace shoal::symbols
