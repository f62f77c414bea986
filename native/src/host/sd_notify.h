#pragma once

#include <napi.h>

namespace shoal::host {

/** sdNotify(state): tells systemd by the protocol of sd_notify(3); false when it did not start this process. */
Napi::Value sdNotify(const Napi::CallbackInfo& info);

}  // namespace shoal::host
