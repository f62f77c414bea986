#include "fabric/channel_binding.h"

#include <fcntl.h>
#include <uv.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "fabric/channel.h"
#include "host/system_error.h"

namespace shoal::fabric {
namespace {

constexpr const char* kNames[] = {"memory", "strike", "listen"};

/** The memory and the bell of one end, whose ring is worked on in JavaScript. Lives until libuv lets go of its handle.
 */
class OpenChannel {
 public:
  static OpenChannel* start(Napi::Env env, Segment segment, Bell bell, const Napi::Function& onBell) {
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    auto channel = std::unique_ptr<OpenChannel>(new OpenChannel(env, std::move(segment), std::move(bell), onBell));
    if (uv_poll_init(loop, &channel->poll_, channel->bell_.listenFd()) != 0) return nullptr;
    channel->poll_.data = channel.get();
    uv_poll_start(&channel->poll_, UV_READABLE, &OpenChannel::onReadable);
    return channel.release();
  }

  /** One external buffer for the whole mapping, made once. */
  Napi::Value makeBuffer() {
    // Nothing to release: close() takes the buffer's memory away before it is unmapped, whenever the buffer is
    // collected.
    const auto release = [](napi_env, void*, void*) {};
    napi_value buffer = nullptr;
    if (napi_create_external_arraybuffer(env_, segment_.data(), segment_.bytes(), release, nullptr, &buffer) != napi_ok)
      return env_.Undefined();
    buffer_ = Napi::Persistent(Napi::Value(env_, buffer).As<Napi::ArrayBuffer>());
    return buffer_.Value();
  }

  void strike() { bell_.strike(); }

  /** Takes the memory away from JavaScript, lets the peer know, and deletes itself. Once only. */
  void close() {
    if (!buffer_.IsEmpty()) buffer_.Value().Detach();
    buffer_.Reset();
    onBell_.Reset();
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_),
             [](uv_handle_t* handle) { std::unique_ptr<OpenChannel> done(static_cast<OpenChannel*>(handle->data)); });
  }

 private:
  OpenChannel(Napi::Env env, Segment segment, Bell bell, const Napi::Function& onBell)
      : env_(env),
        segment_(std::move(segment)),
        bell_(std::move(bell)),
        onBell_(Napi::Persistent(onBell)),
        context_(env, "shoal.channel") {}

  static void onReadable(uv_poll_t* poll, int, int) {
    auto* channel = static_cast<OpenChannel*>(poll->data);
    const Wait heard = channel->bell_.hear();
    if (heard == Wait::timeout) return;
    if (heard == Wait::peerGone) uv_poll_stop(poll);
    const Napi::HandleScope scope(channel->env_);
    const Napi::Function callback = channel->onBell_.Value();
    callback.MakeCallback(channel->env_.Global(), {Napi::Boolean::New(channel->env_, heard == Wait::peerGone)},
                          channel->context_);
  }

  Napi::Env env_;
  Segment segment_;
  Bell bell_;
  Napi::FunctionReference onBell_;
  Napi::AsyncContext context_;
  Napi::Reference<Napi::ArrayBuffer> buffer_;
  uv_poll_t poll_ = {};
};

Napi::Value fail(Napi::Env env, const std::string& problem) {
  Napi::Error::New(env, problem).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace

Napi::Value createChannel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const uint32_t ringBytes = info[0].ToNumber().Uint32Value();
  if (!isRingSize(ringBytes)) return fail(env, "a ring has 4 KiB to 1 GiB, a power of two");
  ChannelFds fds[2];
  std::string problem;
  if (!makeChannel(ringBytes, info[1].ToBoolean(), fds, problem)) return fail(env, problem);
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
  OpenChannel* channel = OpenChannel::start(env, std::move(*segment), std::move(bell), info[1].As<Napi::Function>());
  if (channel == nullptr) return fail(env, "the bell cannot be listened to");
  const Napi::Value buffer = channel->makeBuffer();
  if (buffer.IsUndefined()) {
    channel->close();
    return fail(env, "this runtime allows no external buffers");
  }
  // The channel outlives close() until libuv is done with it, hence the flag and not the pointer is looked at.
  const auto open = std::make_shared<bool>(true);
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("buffer", buffer);
  handle.Set("ringBytes", Napi::Number::New(env, ringBytes));
  handle.Set("strike", Napi::Function::New(env, [channel, open](const Napi::CallbackInfo&) {
               if (*open) channel->strike();
             }));
  handle.Set("close", Napi::Function::New(env, [channel, open](const Napi::CallbackInfo&) {
               if (!*open) return;
               *open = false;
               channel->close();
             }));
  return handle;
}

}  // namespace shoal::fabric
