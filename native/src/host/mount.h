#pragma once

#include <napi.h>

namespace shoal::host {

/** bindMount(source, target, {readonly}): recursive, without set-user-id programs and devices. */
void bindMount(const Napi::CallbackInfo& info);

/** unmount(path): lazily, so that a mount in use goes with its last user. */
void unmount(const Napi::CallbackInfo& info);

/** mountCgroup2(path) */
void mountCgroup2(const Napi::CallbackInfo& info);

}  // namespace shoal::host
