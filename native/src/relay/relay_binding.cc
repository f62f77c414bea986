#include "relay/relay_binding.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/polled.h"
#include "common/unique_fd.h"
#include "host/system_error.h"
#include "relay/relay.h"

namespace shoal::relay {
namespace {

constexpr const char* kCarriers[] = {"none", "tcp", "verbs"};
constexpr const char* kEvents[] = {"carrier-up",  "carrier-down",  "carrier-replaced",
                                   "dial-failed", "channel-ended", "connection-ended"};
constexpr const char* kReasons[] = {"none",     "ended",       "corrupt", "too-long", "detached",
                                    "protocol", "unreachable", "closed",  "forged"};
static_assert(std::size(kReasons) == static_cast<size_t>(EndReason::forged) + 1);

const char* nameOf(CarrierKind kind) { return kCarriers[static_cast<size_t>(kind)]; }
const char* nameOf(Event::Kind kind) { return kEvents[static_cast<size_t>(kind)]; }
const char* nameOf(EndReason reason) { return kReasons[static_cast<size_t>(reason)]; }

Napi::Value fail(Napi::Env env, const std::string& problem) {
  Napi::Error::New(env, problem).ThrowAsJavaScriptException();
  return env.Undefined();
}

/** The relay of one environment; its events come by a descriptor that Node's loop waits for. */
class OpenRelay : public Polled {
 public:
  OpenRelay(Napi::Env env, const Napi::Function& onEvents)
      : Polled(env),
        news_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        onEvents_(Napi::Persistent(onEvents)),
        context_(std::in_place, env, "shoal.relay") {}

  /** 0, or an error of the system; nothing is left then. */
  int start(const RelayOptions& options, std::string& problem) {
    relay_ = Relay::start(
        options, [fd = news_.get()] { eventfd_write(fd, 1); }, problem);
    return watch(news_.get());
  }
  Relay* relay() const { return relay_.get(); }

 private:
  void onReadable() override {
    eventfd_t count = 0;
    eventfd_read(news_.get(), &count);
    const Napi::HandleScope scope(env());
    const std::vector<Event> events = relay_->takeEvents();
    Napi::Array list = Napi::Array::New(env(), events.size());
    for (uint32_t i = 0; i < events.size(); ++i) list.Set(i, toObject(events[i]));
    onEvents_.Value().MakeCallback(env().Global(), {list}, *context_);
  }

  Napi::Object toObject(const Event& event) const {
    Napi::Object object = Napi::Object::New(env());
    object.Set("type", nameOf(event.kind));
    object.Set("connection", event.connection);
    if (event.carrier != CarrierKind::none) object.Set("carrier", nameOf(event.carrier));
    if (event.kind == Event::Kind::channelEnded) {
      object.Set("channel", event.channel);
      object.Set("byPeer", event.byPeer);
    }
    if (event.reason != EndReason::none) object.Set("reason", nameOf(event.reason));
    if (!event.text.empty()) object.Set("detail", event.text);
    return object;
  }

  void onClosing() override {
    const Napi::HandleScope scope(env());
    relay_.reset();
    onEvents_.Reset();
    context_.reset();
  }

  UniqueFd news_;
  std::unique_ptr<Relay> relay_;
  Napi::FunctionReference onEvents_;
  std::optional<Napi::AsyncContext> context_;
};

std::optional<Token> tokenOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) return std::nullopt;
  const auto bytes = value.As<Napi::Uint8Array>();
  if (bytes.ByteLength() != kTokenBytes) return std::nullopt;
  Token token;
  std::copy_n(bytes.Data(), kTokenBytes, token.begin());
  return token;
}

/** Absent or null: none. Anything that is not two secrets is a problem. */
std::optional<CarrierSecrets> secretsOf(const Napi::Value& value, std::string& problem) {
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  const auto take = [&](const char* name) {
    return value.IsObject() ? tokenOf(value.As<Napi::Object>().Get(name)) : std::nullopt;
  };
  const std::optional<crypto::Secret> out = take("out");
  const std::optional<crypto::Secret> in = take("in");
  if (out && in) return CarrierSecrets{*out, *in};
  problem = "secrets are two of 32 bytes, out and in";
  return std::nullopt;
}

uint32_t numberOf(const Napi::Value& value) { return value.ToNumber().Uint32Value(); }

Napi::Object toObject(Napi::Env env, const verbs::Parameters& ours) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("gid", verbs::gidText(ours.gid));
  object.Set("qpNumber", ours.qpNumber);
  object.Set("psn", ours.psn);
  object.Set("mtu", ours.mtu);
  object.Set("remoteKey", ours.remoteKey);
  object.Set("address", std::to_string(ours.address));
  object.Set("streamBytes", static_cast<double>(ours.streamBytes));
  return object;
}

/** What does not fit is refused by isSound(), or makes numbers that are. */
verbs::Parameters parametersOf(const Napi::Object& object) {
  verbs::Parameters theirs;
  theirs.gid = verbs::gidOf(object.Get("gid").ToString()).value_or(verbs::GidBytes{});
  theirs.qpNumber = numberOf(object.Get("qpNumber"));
  theirs.psn = numberOf(object.Get("psn"));
  theirs.mtu = numberOf(object.Get("mtu"));
  theirs.remoteKey = numberOf(object.Get("remoteKey"));
  theirs.address = std::strtoull(object.Get("address").ToString().Utf8Value().c_str(), nullptr, 10);
  theirs.streamBytes = static_cast<uint64_t>(object.Get("streamBytes").ToNumber().Int64Value());
  return theirs;
}

Napi::Value statsOf(Napi::Env env, const ConnectionStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("carrier", nameOf(stats.carrier));
  const std::pair<const char*, uint64_t> numbers[] = {
      {"channels", stats.channels},          {"carriers", stats.carriers}, {"recordsOut", stats.recordsOut},
      {"recordsIn", stats.recordsIn},        {"bytesOut", stats.bytesOut}, {"bytesIn", stats.bytesIn},
      {"bytesInFlight", stats.bytesInFlight}};
  for (const auto& [name, number] : numbers) object.Set(name, static_cast<double>(number));
  return object;
}

using Info = const Napi::CallbackInfo&;

/** A method of the handle. What it answers false to is thrown, with the problem. */
template <class Method>
void define(Napi::Object& handle, const Polled::Self& self, const char* name, Method method) {
  handle.Set(name, Napi::Function::New(handle.Env(), [self, method](Info info) -> Napi::Value {
               if (*self == nullptr) return fail(info.Env(), "the relay is stopped");
               std::string problem;
               Napi::Value result = method(*static_cast<OpenRelay*>(*self)->relay(), info, problem);
               return problem.empty() ? result : fail(info.Env(), problem);
             }));
}

void defineConnections(Napi::Object& handle, const Polled::Self& self) {
  define(handle, self, "listen", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    const auto port = static_cast<uint16_t>(numberOf(info[1]));
    return Napi::Number::New(info.Env(), relay.listen(info[0].ToString(), port, problem));
  });
  define(handle, self, "open", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    return Napi::Number::New(info.Env(), relay.open(problem));
  });
  define(handle, self, "close", [](Relay& relay, Info info, std::string&) -> Napi::Value {
    relay.close(numberOf(info[0]));
    return info.Env().Undefined();
  });
  define(handle, self, "stats", [](Relay& relay, Info info, std::string&) -> Napi::Value {
    ConnectionStats stats;
    return relay.stats(numberOf(info[0]), stats) ? statsOf(info.Env(), stats) : info.Env().Undefined();
  });
}

void defineCarriers(Napi::Object& handle, const Polled::Self& self) {
  define(handle, self, "expect", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    const std::optional<Token> theirs = tokenOf(info[1]);
    const std::optional<Token> ours = tokenOf(info[2]);
    if (!theirs || !ours) problem = "a token has 32 bytes";
    const std::optional<CarrierSecrets> secrets = secretsOf(info[3], problem);
    if (problem.empty()) relay.expect(numberOf(info[0]), *theirs, *ours, secrets, problem);
    return info.Env().Undefined();
  });
  define(handle, self, "dial", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    const std::optional<Token> ours = tokenOf(info[3]);
    const std::optional<Token> theirs = tokenOf(info[4]);
    if (!theirs || !ours) problem = "a token has 32 bytes";
    const std::optional<CarrierSecrets> secrets = secretsOf(info[5], problem);
    const auto port = static_cast<uint16_t>(numberOf(info[2]));
    if (problem.empty()) relay.dial(numberOf(info[0]), info[1].ToString(), port, *ours, *theirs, secrets, problem);
    return info.Env().Undefined();
  });
  define(handle, self, "prepareVerbs", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    verbs::Parameters ours;
    relay.prepareVerbs(numberOf(info[0]), info[1].ToString(), ours, problem);
    return toObject(info.Env(), ours);
  });
  define(handle, self, "connectVerbs", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    if (!info[1].IsObject()) {
      problem = "connectVerbs(connection: number, parameters: object, first: boolean)";
    } else {
      relay.connectVerbs(numberOf(info[0]), parametersOf(info[1].As<Napi::Object>()), info[2].ToBoolean(), problem);
    }
    return info.Env().Undefined();
  });
  define(handle, self, "drop", [](Relay& relay, Info info, std::string&) -> Napi::Value {
    relay.drop(numberOf(info[0]));
    return info.Env().Undefined();
  });
  define(handle, self, "breakQueues", [](Relay& relay, Info info, std::string&) -> Napi::Value {
    relay.breakQueues(numberOf(info[0]));
    return info.Env().Undefined();
  });
}

void defineChannels(Napi::Object& handle, const Polled::Self& self) {
  define(handle, self, "attach", [](Relay& relay, Info info, std::string& problem) -> Napi::Value {
    if (!info[2].IsObject()) {
      problem = "attach(connection: number, channel: number, fds: object, side: number)";
      return info.Env().Undefined();
    }
    const Napi::Object numbers = info[2].As<Napi::Object>();
    const auto take = [&numbers](const char* name) { return UniqueFd(numbers.Get(name).ToNumber().Int32Value()); };
    fabric::ChannelFds fds = {take("memory"), take("strike"), take("listen")};
    const int side = numberOf(info[3]) == 0 ? 0 : 1;
    relay.attach(numberOf(info[0]), numberOf(info[1]), std::move(fds), side, problem);
    return info.Env().Undefined();
  });
  define(handle, self, "detach", [](Relay& relay, Info info, std::string&) -> Napi::Value {
    relay.detach(numberOf(info[0]), numberOf(info[1]));
    return info.Env().Undefined();
  });
}

}  // namespace

Napi::Value startRelay(Info info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject() || !info[1].IsFunction()) return fail(env, "startRelay(options: object, onEvents: function)");
  const Napi::Object given = info[0].As<Napi::Object>();
  RelayOptions options;
  options.streamBytes = static_cast<uint64_t>(given.Get("streamBytes").ToNumber().Int64Value());
  options.spin = std::chrono::microseconds(numberOf(given.Get("spinUs")));
  options.resumeTime = std::chrono::milliseconds(numberOf(given.Get("resumeMs")));
  std::string problem;
  auto* open = new OpenRelay(env, info[1].As<Napi::Function>());
  const Polled::Self self = open->self();
  if (const int error = open->start(options, problem); error != 0) {
    host::throwSystemError(env, -error, "uv_poll");
    return env.Undefined();
  }
  if (!problem.empty()) {
    open->close();
    return fail(env, problem);
  }
  Napi::Object handle = Napi::Object::New(env);
  defineConnections(handle, self);
  defineCarriers(handle, self);
  defineChannels(handle, self);
  handle.Set("stop", Napi::Function::New(env, [self](Info) {
               if (*self != nullptr) (*self)->close();
             }));
  return handle;
}

Napi::Value probeEncryption(Info info) {
  std::string problem;
  crypto::Library::load(problem);
  return problem.empty() ? info.Env().Null() : Napi::Value(Napi::String::New(info.Env(), problem));
}

Napi::Value probeRdma(Info info) {
  const Napi::Env env = info.Env();
  std::string problem;
  verbs::Library::load(problem);
  Napi::Object probe = Napi::Object::New(env);
  probe.Set("problem", problem.empty() ? env.Null() : Napi::Value(Napi::String::New(env, problem)));
  const std::vector<verbs::PortAddress> found = verbs::listPorts();
  Napi::Array ports = Napi::Array::New(env, found.size());
  for (uint32_t i = 0; i < found.size(); ++i) {
    Napi::Object port = Napi::Object::New(env);
    port.Set("device", found[i].device);
    port.Set("port", found[i].port);
    port.Set("gid", verbs::gidText(found[i].gid));
    port.Set("interface", found[i].interface);
    port.Set("active", found[i].active());
    port.Set("state", found[i].state);
    ports.Set(i, port);
  }
  probe.Set("ports", ports);
  return probe;
}

}  // namespace shoal::relay
