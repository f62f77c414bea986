#include "host/devices.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

struct Device {
  int major;
  /** Negative: any. */
  int minor;
};
/** Kernel document admin-guide/devices: null, zero, full, random, urandom; tty, ptmx; the ends of pseudo terminals. */
constexpr Device kAllowed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}, {136, -1}};

bpf_insn load(int to, size_t offset) {
  return {BPF_LDX | BPF_MEM | BPF_W, static_cast<__u8>(to), BPF_REG_1, static_cast<__s16>(offset), 0};
}
bpf_insn jumpUnlessEqual(int reg, int value, int over) {
  return {BPF_JMP | BPF_JNE | BPF_K, static_cast<__u8>(reg), 0, static_cast<__s16>(over), value};
}
bpf_insn set(int reg, int value) { return {BPF_ALU64 | BPF_MOV | BPF_K, static_cast<__u8>(reg), 0, 0, value}; }
bpf_insn exitProgram() { return {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}; }

std::vector<bpf_insn> program() {
  // r2: kind of device in the lower 16 bits; r3: major; r4: minor.
  std::vector<bpf_insn> code = {load(BPF_REG_2, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                {BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff},
                                load(BPF_REG_3, offsetof(bpf_cgroup_dev_ctx, major)),
                                load(BPF_REG_4, offsetof(bpf_cgroup_dev_ctx, minor)),
                                set(BPF_REG_0, 0),
                                jumpUnlessEqual(BPF_REG_2, BPF_DEVCG_DEV_CHAR, 0)};
  const size_t kindCheck = code.size() - 1;
  for (const Device& device : kAllowed) {
    const bool anyMinor = device.minor < 0;
    code.push_back(jumpUnlessEqual(BPF_REG_3, device.major, anyMinor ? 2 : 3));
    if (!anyMinor) code.push_back(jumpUnlessEqual(BPF_REG_4, device.minor, 2));
    code.push_back(set(BPF_REG_0, 1));
    code.push_back(exitProgram());
  }
  code.push_back(exitProgram());
  code[kindCheck].off = static_cast<__s16>(code.size() - 2 - kindCheck);
  return code;
}

int attach(const std::string& cgroup) {
  const UniqueFd folder(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return errno;
  const std::vector<bpf_insn> code = program();
  const int loaded =
      bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, "shoal_devices", "GPL", code.data(), code.size(), nullptr);
  if (loaded < 0) return -loaded;
  const UniqueFd fd(loaded);
  // Without flags: no cgroup below can allow more, and the next agent's takes the place of this one.
  const int problem = bpf_prog_attach(fd.get(), folder.get(), BPF_CGROUP_DEVICE, 0);
  return problem < 0 ? -problem : 0;
}

}  // namespace

void confineDevices(const Napi::CallbackInfo& info) {
  const std::string cgroup = info[0].ToString();
  if (const int problem = attach(cgroup); problem != 0) {
    throwSystemError(info.Env(), problem, "bpf_prog_attach", cgroup);
  }
}

}  // namespace shoal::host
