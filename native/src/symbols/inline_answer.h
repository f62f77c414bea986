#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::symbols {

/** With this shoal-inlines ends where its answer is whole, but lacks what is in files of its own for each unit. */
constexpr int kInlinesSplitStatus = 3;

/** A function that the compiler has put into its caller. */
struct InlinedFunction {
  /** As the linker would know it. */
  std::string name;
  /** Where it is called: the file as the compiler was told, and the line; empty and 0 where that is not known. */
  std::string file;
  uint32_t line = 0;
  bool operator==(const InlinedFunction&) const = default;
};

/** Those at one address, innermost first. */
using InlinedFunctions = std::vector<InlinedFunction>;

/**
 * What shoal-inlines writes for one address: their number in a byte; of each the length of its name in 2 bytes and the
 * name, the same of the file, and the line in 4 bytes; numbers as this machine has them. What is longer than limits.h
 * says is cut.
 */
void writeInlined(const InlinedFunctions& functions, std::string& into);

/**
 * The answer for so many addresses. None for what is no such text: who wrote it has read a file from a container, and
 * may write anything.
 */
std::optional<std::vector<InlinedFunctions>> parseInlined(std::string_view answer, size_t addresses);

}  // namespace shoal::symbols
