#include "fabric/channel_binding.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "common/external_buffer.h"
#include "common/polled.h"
#include "fabric/channel.h"
#include "host/system_error.h"

namespace shoal::fabric {
namespace {

constexpr const char* kNames[] = {"memory", "strike", "listen"};

/** The memory and the bell of one end, whose ring is worked on in JavaScript. */
class OpenChannel : public Polled {
 public:
  OpenChannel(Napi::Env env, Segment segment, Bell bell, const Napi::Function& onBell)
      : Polled(env),
        segment_(std::move(segment)),
        bell_(std::move(bell)),
        onBell_(Napi::Persistent(onBell)),
        context_(std::in_place, env, "shoal.channel") {}

  int start() { return watch(bell_.listenFd()); }

  /** One external buffer for the whole mapping, made once; nothing, with an exception pending, where none is allowed.
   */
  Napi::Value makeBuffer() {
    // Nothing to release: onClosing() takes the buffer's memory away before it is unmapped, whenever the buffer is
    // collected.
    const auto release = [](napi_env, void*, void*) {};
    napi_value buffer = makeExternalBuffer(env(), segment_.data(), segment_.bytes(), release, nullptr);
    if (buffer == nullptr) return {};
    buffer_ = Napi::Persistent(Napi::Value(env(), buffer).As<Napi::ArrayBuffer>());
    return buffer_.Value();
  }

  void strike() { bell_.strike(); }

 private:
  void onReadable() override {
    const Wait heard = bell_.hear();
    if (heard == Wait::timeout) return;
    if (heard == Wait::peerGone) stop();
    const Napi::HandleScope scope(env());
    onBell_.Value().MakeCallback(env().Global(), {Napi::Boolean::New(env(), heard == Wait::peerGone)}, *context_);
  }

  /** Takes the memory away from JavaScript before it goes. */
  void onClosing() override {
    const Napi::HandleScope scope(env());
    if (!buffer_.IsEmpty()) buffer_.Value().Detach();
    buffer_.Reset();
    onBell_.Reset();
    context_.reset();
  }

  Segment segment_;
  Bell bell_;
  Napi::FunctionReference onBell_;
  std::optional<Napi::AsyncContext> context_;
  Napi::Reference<Napi::ArrayBuffer> buffer_;
};

Napi::Value fail(Napi::Env env, const std::string& problem) {
  Napi::Error::New(env, problem).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace

Napi::Value createChannel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t ringBytes = info[0].ToNumber().Uint32Value();
  if (!isRingSize(ringBytes)) return fail(env, "a ring has 4 KiB to 512 MiB, a power of two");
  ChannelFds fds[2];
  std::string problem;
  if (!makeChannel(ringBytes, fds, problem)) return fail(env, problem);
  Napi::Array sides = Napi::Array::New(env, 2);
  for (uint32_t side = 0; side < 2; ++side) {
    Napi::Object numbers = Napi::Object::New(env);
    UniqueFd* const all[] = {&fds[side].memory, &fds[side].strike, &fds[side].listen};
    for (size_t i = 0; i < std::size(all); ++i) numbers.Set(kNames[i], Napi::Number::New(env, all[i]->release()));
    sides.Set(side, numbers);
  }
  return sides;
}

Napi::Value openChannel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject() || !info[1].IsFunction()) return fail(env, "openChannel(fds: object, onBell: function)");
  const Napi::Object numbers = info[0].As<Napi::Object>();
  const auto take = [&numbers](const char* name) { return UniqueFd(numbers.Get(name).ToNumber().Int32Value()); };
  UniqueFd memory = take("memory");
  Bell bell(take("strike"), take("listen"));
  for (const int fd : {bell.strikeFd(), bell.listenFd()}) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
      host::throwSystemError(env, errno, "fcntl");
      return env.Undefined();
    }
  }
  std::string problem;
  std::optional<Segment> segment = Segment::map(std::move(memory), problem);
  if (!segment) return fail(env, problem);
  const uint32_t ringBytes = segment->ringBytes();
  auto* channel = new OpenChannel(env, std::move(*segment), std::move(bell), info[1].As<Napi::Function>());
  const Polled::Self self = channel->self();
  if (const int problem = channel->start(); problem != 0) {
    host::throwSystemError(env, -problem, "uv_poll");
    return env.Undefined();
  }
  const Napi::Value buffer = channel->makeBuffer();
  if (buffer.IsEmpty()) {
    channel->close();
    return env.Undefined();
  }
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("buffer", buffer);
  handle.Set("ringBytes", Napi::Number::New(env, ringBytes));
  handle.Set("strike", Napi::Function::New(env, [self](const Napi::CallbackInfo&) {
               if (*self != nullptr) static_cast<OpenChannel*>(*self)->strike();
             }));
  handle.Set("close", Napi::Function::New(env, [self](const Napi::CallbackInfo&) {
               if (*self != nullptr) (*self)->close();
             }));
  return handle;
}

}  // namespace shoal::fabric
