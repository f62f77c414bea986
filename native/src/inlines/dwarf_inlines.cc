#include "inlines/dwarf_inlines.h"

#include <dwarf.h>

#include <algorithm>
#include <string>

#include "symbols/limits.h"

namespace shoal::inlines {
namespace {

/** Of name spaces and blocks within each other. */
constexpr unsigned kDepthMax = 256;

template <typename Take>
void eachRange(Dwarf_Die& die, Take take) {
  Dwarf_Addr base = 0;
  Dwarf_Addr begin = 0;
  Dwarf_Addr end = 0;
  for (ptrdiff_t at = 0; (at = dwarf_ranges(&die, at, &base, &begin, &end)) > 0;) {
    if (begin < end) take(begin, end);
  }
}

template <typename Take>
void eachChild(Dwarf_Die parent, Take take) {
  Dwarf_Die child;
  if (dwarf_child(&parent, &child) != 0) return;
  do {
    if (!take(child)) return;
  } while (dwarf_siblingof(&child, &child) == 0);
}

struct Unit {
  Dwarf_Die die;
  bool isSplit = false;
  bool isRead = false;
};

struct UnitRange {
  uint64_t begin;
  uint64_t end;
  size_t unit;
};

/** The range that holds the address, of those sorted by where they begin. */
template <typename Range>
const Range* holder(const std::vector<Range>& ranges, uint64_t address) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                      [](uint64_t wanted, const Range& each) { return wanted < each.begin; });
  if (after == ranges.begin() || address >= std::prev(after)->end) return nullptr;
  return &*std::prev(after);
}

template <typename Range>
void sortByBegin(std::vector<Range>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
}

std::string textOf(Dwarf_Die& die, unsigned attribute) {
  Dwarf_Attribute found;
  const char* text = dwarf_formstring(dwarf_attr_integrate(&die, attribute, &found));
  return text == nullptr ? "" : text;
}

/** C++ and Rust say what the linker calls it, which alone tells name spaces and types. */
std::string nameOf(Dwarf_Die& die) {
  for (const unsigned attribute : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name, DW_AT_name}) {
    std::string name = textOf(die, attribute);
    if (!name.empty()) return name;
  }
  return "";
}

uint64_t numberOf(Dwarf_Die& die, unsigned attribute) {
  Dwarf_Attribute found;
  Dwarf_Word value = 0;
  return dwarf_formudata(dwarf_attr(&die, attribute, &found), &value) == 0 ? value : 0;
}

symbols::InlinedFunction describe(Dwarf_Die& die) {
  symbols::InlinedFunction function = {nameOf(die), "", static_cast<uint32_t>(numberOf(die, DW_AT_call_line))};
  Dwarf_Die unit;
  Dwarf_Files* files = nullptr;
  size_t count = 0;
  if (dwarf_diecu(&die, &unit, nullptr, nullptr) == nullptr || dwarf_getsrcfiles(&unit, &files, &count) != 0)
    return function;
  const uint64_t number = numberOf(die, DW_AT_call_file);
  const char* file = number < count ? dwarf_filesrc(files, number, nullptr, nullptr) : nullptr;
  if (file != nullptr) function.file = file;
  return function;
}

bool isBlock(int tag) {
  return tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_try_block ||
         tag == DW_TAG_catch_block;
}

/** Goes down to the innermost block that holds the address. */
void descend(Dwarf_Die parent, uint64_t address, unsigned depth, symbols::InlinedFunctions& outermostFirst) {
  if (depth > kDepthMax) return;
  eachChild(parent, [&](Dwarf_Die& child) {
    const int tag = dwarf_tag(&child);
    if (!isBlock(tag) || dwarf_haspc(&child, address) <= 0) return true;
    if (tag == DW_TAG_inlined_subroutine) {
      symbols::InlinedFunction function = describe(child);
      if (!function.name.empty()) outermostFirst.push_back(std::move(function));
    }
    descend(child, address, depth + 1, outermostFirst);
    return false;
  });
}

}  // namespace

DwarfInlines::DwarfInlines(Dwarf* dwarf, const std::vector<uint64_t>& addresses) {
  std::vector<Unit> units;
  std::vector<UnitRange> ranges;
  Dwarf_CU* unit = nullptr;
  uint8_t type = 0;
  for (Dwarf_Die die; dwarf_get_units(dwarf, unit, &unit, nullptr, &type, &die, nullptr) == 0;) {
    if (dwarf_tag(&die) != DW_TAG_compile_unit && dwarf_tag(&die) != DW_TAG_skeleton_unit) continue;
    eachRange(die, [&](uint64_t begin, uint64_t end) { ranges.push_back({begin, end, units.size()}); });
    units.push_back({die, type == DW_UT_skeleton});
  }
  sortByBegin(ranges);
  for (const uint64_t address : addresses) {
    const UnitRange* range = holder(ranges, address);
    if (range == nullptr || units[range->unit].isRead) continue;
    units[range->unit].isRead = true;
    isSplit_ = isSplit_ || units[range->unit].isSplit;
    readFunctions(units[range->unit].die, 0);
  }
  sortByBegin(functions_);
}

symbols::InlinedFunctions DwarfInlines::at(uint64_t address) const {
  const FunctionRange* function = holder(functions_, address);
  if (function == nullptr) return {};
  symbols::InlinedFunctions found;
  descend(function->die, address, 0, found);
  std::reverse(found.begin(), found.end());
  return found;
}

void DwarfInlines::readFunctions(Dwarf_Die parent, unsigned depth) {
  if (depth > kDepthMax) return;
  eachChild(parent, [&](Dwarf_Die& child) {
    switch (dwarf_tag(&child)) {
      case DW_TAG_subprogram:
        eachRange(child, [&](uint64_t begin, uint64_t end) { functions_.push_back({begin, end, child}); });
        break;
      case DW_TAG_namespace:
      case DW_TAG_module:
      case DW_TAG_class_type:
      case DW_TAG_structure_type:
        readFunctions(child, depth + 1);
        break;
      default:
        break;
    }
    return true;
  });
}

}  // namespace shoal::inlines
