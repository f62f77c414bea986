#include "symbols/frame_table.h"

#include <utility>

#include "symbols/limits.h"

namespace shoal::symbols {

uint32_t FrameTable::number(Function function) {
  const auto [place, fresh] =
      functionNumbers_.try_emplace(std::move(function), static_cast<uint32_t>(functions_.size()));
  if (fresh) functions_.push_back(&place->first);
  return place->second;
}

uint32_t FrameTable::chain(const std::vector<uint32_t>& numbers) {
  const auto [place, fresh] = chainNumbers_.try_emplace(numbers, static_cast<uint32_t>(chains_.size()));
  if (fresh) chains_.push_back(&place->first);
  return place->second;
}

bool FrameTable::isFull() const { return functions_.size() > kFunctionsMax || chains_.size() > kChainsMax; }

void FrameTable::clear() {
  chains_.clear();
  chainNumbers_.clear();
  functions_.clear();
  functionNumbers_.clear();
}

}  // namespace shoal::symbols
