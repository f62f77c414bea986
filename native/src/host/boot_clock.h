#pragma once

#include <napi.h>

namespace shoal::host {

/** bootMs(): milliseconds since the machine was booted, a whole number; the clock by which shims look at leases. */
Napi::Value bootMs(const Napi::CallbackInfo& info);

}  // namespace shoal::host
