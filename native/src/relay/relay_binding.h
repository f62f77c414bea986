#pragma once

#include <napi.h>

namespace shoal::relay {

/** startRelay({streamBytes, spinUs, resumeMs}, onEvents): see RelayHandle in native/types.ts. */
Napi::Value startRelay(const Napi::CallbackInfo& info);

/** probeEncryption(): null, or why what goes to other hosts cannot be encrypted here. */
Napi::Value probeEncryption(const Napi::CallbackInfo& info);

/** probeRdma(): what this host has of RDMA, see RdmaProbe in native/types.ts. */
Napi::Value probeRdma(const Napi::CallbackInfo& info);

}  // namespace shoal::relay
