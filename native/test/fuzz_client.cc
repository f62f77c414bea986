/** libFuzzer target: what an agent, a caller or a callee may send to a component in C. See native/test/fuzz. */
#include "check.h"
#include "client/messages.h"
#include "client/msgpack.h"

using namespace shoal::client;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::optional<std::string_view> value = Reader(bytes).raw();
  CHECK(!value || value->size() <= bytes.size());
  if (const std::optional<FromAgent> message = readFromAgent(bytes)) {
    for (const auto& [component, route] : message->routes) {
      CHECK(component.find('/') == std::string::npos);
      CHECK(route.weights.empty() || route.weights.size() == route.instances.size());
      for (const std::string& instance : route.instances) CHECK(instance.find('/') == std::string::npos);
    }
  }
  static_cast<void>(readChannelReply(bytes));
  if (const std::optional<CallRequest> request = readCallRequest(bytes)) {
    CHECK(request->kind == CallRequest::Kind::cancel || request->deadlineMs > 0);
  }
  static_cast<void>(readCallResponse(bytes));
  return 0;
}
