#include "fabric/packet_binding.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/polled.h"
#include "fabric/packet_socket.h"
#include "host/system_error.h"

namespace shoal::fabric {
namespace {

/** What is taken before other events of the loop have their turn. */
constexpr int kPacketsPerTurn = 32;
constexpr int kAcceptsPerTurn = 8;
/** So long nobody is accepted where there are no descriptors or memory to do so. */
constexpr uint64_t kAcceptPauseMs = 100;

/** Calls a function of JavaScript from the event loop. */
class Callback {
 public:
  Callback(const Napi::Function& function, const char* name)
      : function_(Napi::Persistent(function)), context_(std::in_place, function.Env(), name) {}

  void operator()(std::initializer_list<napi_value> arguments) {
    function_.Value().MakeCallback(function_.Env().Global(), arguments, *context_);
  }
  void reset() {
    function_.Reset();
    context_.reset();
  }

 private:
  Napi::FunctionReference function_;
  std::optional<Napi::AsyncContext> context_;
};

class PacketListener : public Polled {
 public:
  PacketListener(Napi::Env env, UniqueFd fd, const Napi::Function& onSocket)
      : Polled(env), fd_(std::move(fd)), onSocket_(onSocket, "shoal.listenPackets") {}

  int start() { return watch(fd_.get()); }

 private:
  void onReadable() override {
    for (int i = 0; i < kAcceptsPerTurn && !closed(); ++i) {
      UniqueFd accepted = acceptPackets(fd_.get());
      if (!accepted.valid()) {
        // Who cannot be taken, for lack of descriptors or memory, stays in the queue.
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) pause(kAcceptPauseMs);
        return;
      }
      const Napi::HandleScope scope(env());
      onSocket_({Napi::Number::New(env(), accepted.release())});
    }
  }
  void onClosing() override { onSocket_.reset(); }

  UniqueFd fd_;
  Callback onSocket_;
};

class PacketSocket : public Polled {
 public:
  PacketSocket(Napi::Env env, UniqueFd fd, const Napi::Function& onPacket, const Napi::Function& onEnd)
      : Polled(env), fd_(std::move(fd)), onPacket_(onPacket, "shoal.openPackets"), onEnd_(onEnd, "shoal.openPackets") {}

  int start() { return watch(fd_.get()); }
  int send(const void* bytes, size_t length, const int* fds, size_t count) {
    return sendPacket(fd_.get(), bytes, length, fds, count);
  }

 private:
  void onReadable() override {
    for (int i = 0; i < kPacketsPerTurn && !closed(); ++i) {
      Packet packet;
      int problem = 0;
      const Received received = receivePacket(fd_.get(), packet, problem);
      if (received == Received::nothing) return;
      const Napi::HandleScope scope(env());
      if (received == Received::packet) {
        tell(packet);
      } else {
        end(received == Received::failed ? problem : 0);
      }
    }
  }

  void tell(Packet& packet) {
    Napi::Array numbers = Napi::Array::New(env(), packet.fdCount);
    for (uint32_t i = 0; i < packet.fdCount; ++i) numbers.Set(i, Napi::Number::New(env(), packet.fds[i].release()));
    const auto* data = reinterpret_cast<const uint8_t*>(packet.bytes.data());
    onPacket_({Napi::Buffer<uint8_t>::Copy(env(), data, packet.length), numbers});
  }

  void end(int problem) {
    stop();
    const napi_value error = problem == 0 ? env().Undefined() : host::systemError(env(), problem, "recvmsg").Value();
    onEnd_({error});
    close();
  }

  void onClosing() override {
    onPacket_.reset();
    onEnd_.reset();
  }

  UniqueFd fd_;
  Callback onPacket_;
  Callback onEnd_;
};

Napi::Value fail(Napi::Env env, int problem, const char* syscall, const std::string& path = "") {
  host::throwSystemError(env, problem, syscall, path);
  return env.Undefined();
}

Napi::Function closer(Napi::Env env, const Polled::Self& self) {
  return Napi::Function::New(env, [self](const Napi::CallbackInfo&) {
    if (*self != nullptr) (*self)->close();
  });
}

/** The descriptors of the array, owned; those that fit into no packet are closed as well. */
std::vector<UniqueFd> takeFds(const Napi::Array& numbers) {
  std::vector<UniqueFd> fds;
  for (uint32_t i = 0; i < numbers.Length(); ++i) fds.emplace_back(numbers.Get(i).ToNumber().Int32Value());
  return fds;
}

Napi::Function sender(Napi::Env env, const Polled::Self& self) {
  return Napi::Function::New(env, [self](const Napi::CallbackInfo& info) {
    if (!info[0].IsTypedArray() || !info[1].IsArray()) {
      Napi::TypeError::New(info.Env(), "send(bytes: Uint8Array, fds: number[])").ThrowAsJavaScriptException();
      return;
    }
    const std::vector<UniqueFd> fds = takeFds(info[1].As<Napi::Array>());
    const auto bytes = info[0].As<Napi::Uint8Array>();
    std::array<int, kPacketFdsMax> numbers;
    for (size_t i = 0; i < std::min(fds.size(), numbers.size()); ++i) numbers[i] = fds[i].get();
    int problem = EPIPE;
    if (fds.size() > numbers.size()) {
      problem = EMSGSIZE;
    } else if (*self != nullptr) {
      problem = static_cast<PacketSocket*>(*self)->send(bytes.Data(), bytes.ByteLength(), numbers.data(), fds.size());
    }
    if (problem != 0) host::throwSystemError(info.Env(), problem, "sendmsg");
  });
}

}  // namespace

Napi::Value listenPackets(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsFunction()) {
    Napi::TypeError::New(env, "listenPackets(path: string, onSocket: function, asStream?: boolean)")
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const std::string path = info[0].ToString();
  UniqueFd fd = listenForPackets(path, info[2].ToBoolean());
  if (!fd.valid()) return fail(env, errno, "listen", path);
  auto* listener = new PacketListener(env, std::move(fd), info[1].As<Napi::Function>());
  const Polled::Self self = listener->self();
  if (const int problem = listener->start(); problem != 0) return fail(env, -problem, "uv_poll", path);
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("close", closer(env, self));
  return handle;
}

Napi::Value dialPackets(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString();
  UniqueFd fd = dialPackets(path);
  if (!fd.valid()) return fail(info.Env(), errno, "connect", path);
  return Napi::Number::New(info.Env(), fd.release());
}

Napi::Value openPackets(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsFunction() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "openPackets(socket: number, onPacket: function, onEnd: function)")
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  UniqueFd fd(info[0].ToNumber().Int32Value());
  auto* socket = new PacketSocket(env, std::move(fd), info[1].As<Napi::Function>(), info[2].As<Napi::Function>());
  const Polled::Self self = socket->self();
  if (const int problem = socket->start(); problem != 0) return fail(env, -problem, "uv_poll");
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("send", sender(env, self));
  handle.Set("close", closer(env, self));
  return handle;
}

}  // namespace shoal::fabric
