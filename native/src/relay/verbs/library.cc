#include "relay/verbs/library.h"

#include <dlfcn.h>

#include "relay/find_function.h"

namespace shoal::relay::verbs {
namespace {

struct Loaded {
  Library library = {};
  std::string problem;
};

Loaded loadNow() {
  Loaded loaded;
  void* const handle = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    loaded.problem = "libibverbs is not installed (apt-get install ibverbs-providers)";
    return loaded;
  }
  Library& all = loaded.library;
  const auto find = [&](auto& function, const char* name) {
    findFunction(handle, "libibverbs", name, function, loaded.problem);
  };
  find(all.getDeviceList, "ibv_get_device_list");
  find(all.freeDeviceList, "ibv_free_device_list");
  find(all.getDeviceName, "ibv_get_device_name");
  find(all.openDevice, "ibv_open_device");
  find(all.closeDevice, "ibv_close_device");
  find(all.queryPort, "ibv_query_port");
  find(all.getAsyncEvent, "ibv_get_async_event");
  find(all.acknowledgeAsyncEvent, "ibv_ack_async_event");
  find(all.allocatePd, "ibv_alloc_pd");
  find(all.deallocatePd, "ibv_dealloc_pd");
  find(all.registerMemory, "ibv_reg_mr");
  find(all.deregisterMemory, "ibv_dereg_mr");
  find(all.createChannel, "ibv_create_comp_channel");
  find(all.destroyChannel, "ibv_destroy_comp_channel");
  find(all.createCq, "ibv_create_cq");
  find(all.destroyCq, "ibv_destroy_cq");
  find(all.getCqEvent, "ibv_get_cq_event");
  find(all.acknowledgeCqEvents, "ibv_ack_cq_events");
  find(all.createQp, "ibv_create_qp");
  find(all.modifyQp, "ibv_modify_qp");
  find(all.destroyQp, "ibv_destroy_qp");
  find(all.statusText, "ibv_wc_status_str");
  find(all.forkInit, "ibv_fork_init");
  // The agent starts programs: without this, registered memory could change under the card after a fork on old kernels.
  if (loaded.problem.empty() && all.forkInit() != 0) loaded.problem = "libibverbs cannot be used beside fork()";
  return loaded;
}

}  // namespace

const Library* Library::load(std::string& problem) {
  static const Loaded loaded = loadNow();
  if (loaded.problem.empty()) return &loaded.library;
  problem = loaded.problem;
  return nullptr;
}

}  // namespace shoal::relay::verbs
