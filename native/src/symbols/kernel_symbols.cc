#include "symbols/kernel_symbols.h"

#include <algorithm>
#include <charconv>

#include "symbols/limits.h"

namespace shoal::symbols {

KernelSymbols KernelSymbols::parse(std::string_view text) {
  KernelSymbols symbols;
  while (!text.empty() && symbols.functions_.size() < kKernelSymbolsMax) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    uint64_t address = 0;
    const auto [rest, problem] = std::from_chars(line.data(), line.data() + line.size(), address, 16);
    const size_t at = static_cast<size_t>(rest - line.data());
    // Address, space, kind, space, name; of a module a tab and its name follow.
    if (problem != std::errc() || address == 0 || at + 3 >= line.size()) continue;
    if (std::string_view("tTwW").find(line[at + 1]) == std::string_view::npos) continue;
    const std::string_view name = line.substr(at + 3, line.find('\t', at + 3) - (at + 3));
    if (name.empty() || name.size() > kSymbolNameBytesMax) continue;
    symbols.functions_.push_back(
        {address, static_cast<uint32_t>(symbols.names_.size()), static_cast<uint32_t>(name.size())});
    symbols.names_ += name;
  }
  std::stable_sort(symbols.functions_.begin(), symbols.functions_.end(),
                   [](const Function& a, const Function& b) { return a.address < b.address; });
  return symbols;
}

std::string_view KernelSymbols::find(uint64_t address) const {
  const auto after = std::upper_bound(functions_.begin(), functions_.end(), address,
                                      [](uint64_t wanted, const Function& each) { return wanted < each.address; });
  if (after == functions_.begin()) return {};
  const Function& function = *std::prev(after);
  return std::string_view(names_).substr(function.name, function.bytes);
}

}  // namespace shoal::symbols
