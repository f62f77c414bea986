#include "symbols/perf_map.h"

#include <charconv>

#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

/** Takes a hexadecimal number and the space after it off the front. */
bool takeNumber(std::string_view& line, uint64_t& value) {
  if (line.starts_with("0x")) line.remove_prefix(2);
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
  const auto digits = static_cast<size_t>(end - line.data());
  if (problem != std::errc() || digits >= line.size() || line[digits] != ' ') return false;
  line.remove_prefix(digits + 1);
  return true;
}

bool isDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::string plainName(std::string_view name) {
  for (const std::string_view kind : {"JS:", "Function:", "LazyCompile:", "Script:", "Eval:"}) {
    if (!name.starts_with(kind)) continue;
    name.remove_prefix(kind.size());
    if (!name.empty() && std::string_view("~^+*").find(name.front()) != std::string_view::npos) name.remove_prefix(1);
    // The column says nothing to a reader.
    const size_t column = name.rfind(':');
    if (column != std::string_view::npos && isDigits(name.substr(column + 1)) &&
        name.substr(0, column).find(':') != std::string_view::npos)
      name = name.substr(0, column);
    if (name.starts_with(' ')) return "(anonymous)" + std::string(name);
    break;
  }
  return std::string(name);
}

void PerfMap::add(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view part = text.substr(0, end);
    if (begun_.size() + part.size() > kPerfMapLineBytesMax) skipping_ = true;
    if (skipping_) begun_.clear();
    if (end == std::string_view::npos) {
      if (!skipping_) begun_ += part;
      return;
    }
    if (!skipping_) addLine(begun_.empty() ? part : std::string_view(begun_ += part));
    begun_.clear();
    skipping_ = false;
    text.remove_prefix(end + 1);
  }
}

void PerfMap::addLine(std::string_view line) {
  uint64_t start = 0;
  uint64_t bytes = 0;
  if (!takeNumber(line, start) || !takeNumber(line, bytes)) return;
  if (bytes == 0 || start + bytes < start || line.empty()) return;
  addEntry(start, bytes, plainName(line));
}

void PerfMap::addEntry(uint64_t start, uint64_t bytes, std::string name) {
  const uint64_t end = start + bytes;
  auto each = entries_.upper_bound(start);
  if (each != entries_.begin()) {
    const auto before = std::prev(each);
    if (before->first + before->second.bytes > start) each = before;
  }
  while (each != entries_.end() && each->first < end) each = entries_.erase(each);
  if (entries_.size() < kPerfMapEntriesMax) entries_.emplace(start, Entry{bytes, std::move(name)});
}

const std::string* PerfMap::find(uint64_t address) const {
  const auto after = entries_.upper_bound(address);
  if (after == entries_.begin()) return nullptr;
  const auto& [start, entry] = *std::prev(after);
  return address - start < entry.bytes ? &entry.name : nullptr;
}

}  // namespace shoal::symbols
