#pragma once

#include <napi.h>

namespace shoal::host {

/**
 * spawnDetached(file, args): starts the program in a session of its own, at /, without environment, with /dev/null as
 * its standard streams; a promise of its pid. It is reaped when it ends, and keeps nobody waiting. Rejects when it
 * cannot be run.
 */
Napi::Value spawnDetached(const Napi::CallbackInfo& info);

}  // namespace shoal::host
