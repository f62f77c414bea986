#pragma once

#include <string>

#include "relay/verbs/abi.h"

namespace shoal::relay::verbs {

/** The functions of libibverbs, which is loaded when first asked for. */
struct Library {
  /** nullptr with the reason when it is not installed, or lacks something. */
  static const Library* load(std::string& problem);

  Device** (*getDeviceList)(int* count);
  void (*freeDeviceList)(Device** list);
  const char* (*getDeviceName)(Device* device);
  Context* (*openDevice)(Device* device);
  int (*closeDevice)(Context* context);
  int (*queryPort)(Context* context, uint8_t port, PortAttributes* attributes);
  int (*getAsyncEvent)(Context* context, AsyncEvent* event);
  void (*acknowledgeAsyncEvent)(AsyncEvent* event);
  Pd* (*allocatePd)(Context* context);
  int (*deallocatePd)(Pd* pd);
  MemoryRegion* (*registerMemory)(Pd* pd, void* address, size_t length, int access);
  int (*deregisterMemory)(MemoryRegion* region);
  CompletionChannel* (*createChannel)(Context* context);
  int (*destroyChannel)(CompletionChannel* channel);
  Cq* (*createCq)(Context* context, int entries, void* owner, CompletionChannel* channel, int vector);
  int (*destroyCq)(Cq* cq);
  int (*getCqEvent)(CompletionChannel* channel, Cq** cq, void** owner);
  void (*acknowledgeCqEvents)(Cq* cq, unsigned count);
  Qp* (*createQp)(Pd* pd, QpInitial* initial);
  int (*modifyQp)(Qp* qp, QpAttributes* attributes, int mask);
  int (*destroyQp)(Qp* qp);
  const char* (*statusText)(uint32_t status);
  int (*forkInit)();
};

inline int pollCq(Context* context, Cq* cq, int count, Completion* completions) {
  return reinterpret_cast<int (*)(Cq*, int, Completion*)>(context->operations.pollCq)(cq, count, completions);
}
inline int requestNotify(Context* context, Cq* cq) {
  return reinterpret_cast<int (*)(Cq*, int)>(context->operations.requestNotify)(cq, 0);
}
inline int postSend(Qp* qp, SendRequest* first, SendRequest** bad) {
  return reinterpret_cast<int (*)(Qp*, SendRequest*, SendRequest**)>(qp->context->operations.postSend)(qp, first, bad);
}
inline int postReceive(Qp* qp, ReceiveRequest* first, ReceiveRequest** bad) {
  return reinterpret_cast<int (*)(Qp*, ReceiveRequest*, ReceiveRequest**)>(qp->context->operations.postReceive)(
      qp, first, bad);
}

}  // namespace shoal::relay::verbs
