#pragma once

#include <napi.h>

namespace shoal::host {

/** watchPid(pid, onExit): calls back once when the process is gone; answers {close()}. Throws ESRCH when it is. */
Napi::Value watchPid(const Napi::CallbackInfo& info);

/** signalPid(pid, signal): by pidfd; false when the process is gone. */
Napi::Value signalPid(const Napi::CallbackInfo& info);

}  // namespace shoal::host
