#pragma once

#include <napi.h>

namespace shoal::fabric {

/** listenPackets(path, onSocket): takes the place of a stale socket; `onSocket(socket)` gives away who dials. Answers
 * {close()}. Throws as Node does. */
Napi::Value listenPackets(const Napi::CallbackInfo& info);

/** dialPackets(path): a connected socket, the caller's to open or close. Throws as Node does. */
Napi::Value dialPackets(const Napi::CallbackInfo& info);

/**
 * openPackets(socket, onPacket, onEnd): takes the socket over; answers {send(bytes, fds), close()}. `onPacket(bytes,
 * fds)` gives the descriptors away. `onEnd(error)` is called once, unless close() was: without an error when the other
 * side hung up. send() takes the descriptors over, also when it throws.
 */
Napi::Value openPackets(const Napi::CallbackInfo& info);

}  // namespace shoal::fabric
