#pragma once

#include <napi.h>

namespace shoal::host {

/**
 * openSharedFile(fd): takes the descriptor over. Answers `{ bytes, map(offset, length), reserve(offset, length),
 * release(offset, length), close() }`, as native/types.ts says. Throws a system error when it cannot.
 */
Napi::Value openSharedFile(const Napi::CallbackInfo& info);

}  // namespace shoal::host
