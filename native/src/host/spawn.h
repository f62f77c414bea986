#pragma once

#include <napi.h>

namespace shoal::host {

/**
 * spawnDetached(file, args): starts the program in a session of its own, at /, without environment, with /dev/null as
 * its standard streams; answers its pid. It is reaped when it ends, and keeps nobody waiting. Throws when it cannot be
 * run.
 */
Napi::Value spawnDetached(const Napi::CallbackInfo& info);

}  // namespace shoal::host
