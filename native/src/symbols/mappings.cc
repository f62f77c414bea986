#include "symbols/mappings.h"

#include <algorithm>
#include <charconv>

#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

/** Takes the text before the next separator off the front. */
std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

bool number(std::string_view text, uint64_t& value, int base) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return problem == std::errc() && end == text.data() + text.size();
}

bool parseLine(std::string_view line, Mapping& mapping) {
  const bool range = number(take(line, '-'), mapping.start, 16) && number(take(line, ' '), mapping.end, 16);
  const std::string_view access = take(line, ' ');
  const bool place = number(take(line, ' '), mapping.fileOffset, 16);
  take(line, ' ');  // The device: the file itself says it better, on file systems that have several.
  const bool file = number(take(line, ' '), mapping.inode, 10);
  const size_t name = line.find_first_not_of(' ');
  mapping.path = name == std::string_view::npos ? "" : line.substr(name);
  return range && place && file && access.size() == 4 && access[2] == 'x' && mapping.start < mapping.end;
}

}  // namespace

std::vector<Mapping> parseMappings(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty() && mappings.size() < kMappingsMax) {
    Mapping mapping;
    if (parseLine(take(text, '\n'), mapping)) mappings.push_back(std::move(mapping));
  }
  return mappings;
}

const Mapping* findMapping(const std::vector<Mapping>& mappings, uint64_t address) {
  const auto after = std::upper_bound(mappings.begin(), mappings.end(), address,
                                      [](uint64_t wanted, const Mapping& each) { return wanted < each.start; });
  if (after == mappings.begin()) return nullptr;
  const Mapping& mapping = *std::prev(after);
  return address < mapping.end ? &mapping : nullptr;
}

}  // namespace shoal::symbols
