#pragma once

#include <napi.h>

namespace shoal::fabric {

/** createChannel(ringBytes): for each of the two sides {memory, strike, listen}, descriptors of the caller. */
Napi::Value createChannel(const Napi::CallbackInfo& info);

/**
 * openChannel({memory, strike, listen}, onBell): takes the descriptors over; answers {buffer, ringBytes, strike(),
 * close()}. `onBell(gone)` is called on the event loop when the peer has struck, and at last with true when it is gone.
 */
Napi::Value openChannel(const Napi::CallbackInfo& info);

}  // namespace shoal::fabric
