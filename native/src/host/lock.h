#pragma once

#include <napi.h>

namespace shoal::host {

/** lockIsHeld(path): whether some process holds the flock of the file; false when there is no such file. */
Napi::Value lockIsHeld(const Napi::CallbackInfo& info);

/** acquireLock(path): holds the file's flock until this process ends; throws EWOULDBLOCK when another holds it. */
void acquireLock(const Napi::CallbackInfo& info);

}  // namespace shoal::host
