#pragma once

#include <node_api.h>

#include <cstddef>

namespace shoal {

/** What a runtime is told that forbids buffers over memory which is not its own. */
inline constexpr char kNoExternalBuffers[] =
    "this JavaScript runtime allows no buffers over shared memory (Electron, or V8's sandbox): run the component by "
    "Node.js as "
    "nodejs.org or Debian builds it; without that calls go over Unix sockets, and there is no state";

/**
 * A buffer over memory that JavaScript shall see, made without a copy: nothing else would do, since the other end
 * writes to the same memory. nullptr, with an exception pending, when there can be none; then `release` is not called.
 */
inline napi_value makeExternalBuffer(napi_env env, void* data, size_t bytes, napi_finalize release, void* hint) {
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env, data, bytes, release, hint, &buffer);
  if (status == napi_ok) return buffer;
  const bool forbidden = status == napi_no_external_buffers_allowed;
  napi_throw_error(env, nullptr, forbidden ? kNoExternalBuffers : "no buffer over shared memory could be made");
  return nullptr;
}

}  // namespace shoal
