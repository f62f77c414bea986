#include "host/boot_clock.h"

#include "common/boot_clock.h"

namespace shoal::host {

Napi::Value bootMs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(shoal::bootMs()));
}

}  // namespace shoal::host
