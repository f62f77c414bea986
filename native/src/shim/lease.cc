#include "shim/lease.h"

#include <charconv>

namespace shoal::shim {

bool leaseIsOver(const std::optional<std::string>& text, int64_t bootMs) {
  if (!text) return true;
  int64_t untilMs = 0;
  const char* end = text->data() + text->size();
  const auto result = std::from_chars(text->data(), end, untilMs);
  const bool whole = result.ec == std::errc() && result.ptr + 1 == end && *result.ptr == '\n';
  return !whole || bootMs >= untilMs;
}

}  // namespace shoal::shim
