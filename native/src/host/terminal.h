#pragma once

#include <napi.h>

namespace shoal::host {

/** resizeTerminal(fd, columns, rows): throws a system error when it cannot, and a RangeError for no size of a terminal.
 */
void resizeTerminal(const Napi::CallbackInfo& info);

}  // namespace shoal::host
