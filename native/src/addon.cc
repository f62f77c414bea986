/** shoal.node: what the agent needs of the host that Node cannot do. The TypeScript side is native/index.ts. */
#include <napi.h>

#include "fabric/channel_binding.h"
#include "fabric/packet_binding.h"
#include "host/boot_clock.h"
#include "host/devices.h"
#include "host/lock.h"
#include "host/mount.h"
#include "host/process.h"
#include "host/sd_notify.h"
#include "host/shared_file.h"
#include "host/spawn.h"
#include "host/terminal.h"
#include "host/whiteout.h"
#include "profiler/activity_profiler.h"
#include "profiler/cpu_profiler.h"
#include "profiler/stack_profiler.h"
#include "relay/relay_binding.h"

namespace shoal {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("spawnDetached", Napi::Function::New(env, host::spawnDetached, "spawnDetached"));
  exports.Set("watchPid", Napi::Function::New(env, host::watchPid, "watchPid"));
  exports.Set("signalPid", Napi::Function::New(env, host::signalPid, "signalPid"));
  exports.Set("lockIsHeld", Napi::Function::New(env, host::lockIsHeld, "lockIsHeld"));
  exports.Set("acquireLock", Napi::Function::New(env, host::acquireLock, "acquireLock"));
  exports.Set("bindMount", Napi::Function::New(env, host::bindMount, "bindMount"));
  exports.Set("unmount", Napi::Function::New(env, host::unmount, "unmount"));
  exports.Set("mountCgroup2", Napi::Function::New(env, host::mountCgroup2, "mountCgroup2"));
  exports.Set("bootMs", Napi::Function::New(env, host::bootMs, "bootMs"));
  exports.Set("sdNotify", Napi::Function::New(env, host::sdNotify, "sdNotify"));
  exports.Set("confineDevices", Napi::Function::New(env, host::confineDevices, "confineDevices"));
  exports.Set("resizeTerminal", Napi::Function::New(env, host::resizeTerminal, "resizeTerminal"));
  exports.Set("markDeleted", Napi::Function::New(env, host::markDeleted, "markDeleted"));
  exports.Set("markOpaque", Napi::Function::New(env, host::markOpaque, "markOpaque"));
  exports.Set("openSharedFile", Napi::Function::New(env, host::openSharedFile, "openSharedFile"));
  exports.Set("createChannel", Napi::Function::New(env, fabric::createChannel, "createChannel"));
  exports.Set("openChannel", Napi::Function::New(env, fabric::openChannel, "openChannel"));
  exports.Set("listenPackets", Napi::Function::New(env, fabric::listenPackets, "listenPackets"));
  exports.Set("dialPackets", Napi::Function::New(env, fabric::dialPackets, "dialPackets"));
  exports.Set("openPackets", Napi::Function::New(env, fabric::openPackets, "openPackets"));
  exports.Set("startRelay", Napi::Function::New(env, relay::startRelay, "startRelay"));
  exports.Set("probeEncryption", Napi::Function::New(env, relay::probeEncryption, "probeEncryption"));
  exports.Set("probeRdma", Napi::Function::New(env, relay::probeRdma, "probeRdma"));
  exports.Set("ActivityProfiler", profiler::ActivityProfiler::define(env));
  exports.Set("CpuProfiler", profiler::CpuProfiler::define(env));
  exports.Set("StackProfiler", profiler::StackProfiler::define(env));
  return exports;
}

NODE_API_MODULE(shoal, initialise)

}  // namespace shoal
