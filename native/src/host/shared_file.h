#pragma once

#include <napi.h>

namespace shoal::host {

/**
 * mapSharedFile(fd): takes the descriptor over and maps the whole file, without taking memory for it. Answers
 * `{ buffer, reserve(offset, length), release(offset, length), close() }`. Throws a system error when it cannot.
 */
Napi::Value mapSharedFile(const Napi::CallbackInfo& info);

}  // namespace shoal::host
