#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace shoal::shim {

/**
 * Whether an instance that may run only under a lease has to end. `text` is the content of the lease's file: until when
 * it lasts, in ms since the machine was booted, and a newline. What cannot be read is over.
 */
bool leaseIsOver(const std::optional<std::string>& text, int64_t bootMs);

}  // namespace shoal::shim
