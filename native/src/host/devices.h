#pragma once

#include <napi.h>

namespace shoal::host {

/**
 * confineDevices(cgroupPath): whatever runs in the cgroup or below can open and make only null, zero, full, random,
 * urandom, tty, ptmx and pseudo terminals. By a BPF program on the cgroup (kernel document admin-guide/cgroup-v2,
 * "Device controller"), which stays for as long as the cgroup and takes the place of one from before.
 */
void confineDevices(const Napi::CallbackInfo& info);

}  // namespace shoal::host
