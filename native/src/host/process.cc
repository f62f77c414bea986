#include "host/process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <memory>

#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

UniqueFd openPidfd(pid_t pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

/** Polls one pidfd on Node's event loop. Lives until libuv has let go of its handle. */
class Watch {
 public:
  static Watch* start(Napi::Env env, UniqueFd pidfd, const Napi::Function& onExit, int& problem) {
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    auto watch = std::unique_ptr<Watch>(new Watch(env, std::move(pidfd), onExit));
    problem = uv_poll_init(loop, &watch->poll_, watch->pidfd_.get());
    if (problem != 0) return nullptr;
    watch->poll_.data = watch.get();
    problem = uv_poll_start(&watch->poll_, UV_READABLE, &Watch::onReadable);
    Watch* started = watch.release();
    if (problem == 0) return started;
    started->close();
    return nullptr;
  }

  /** Ends the watch; afterwards the object deletes itself. Once only. */
  void close() {
    if (closed_) return;
    closed_ = true;
    onExit_.Reset();
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_),
             [](uv_handle_t* handle) { std::unique_ptr<Watch> done(static_cast<Watch*>(handle->data)); });
  }

 private:
  Watch(Napi::Env env, UniqueFd pidfd, const Napi::Function& onExit)
      : env_(env), pidfd_(std::move(pidfd)), onExit_(Napi::Persistent(onExit)), context_(env, "shoal.watchPid") {}

  static void onReadable(uv_poll_t* poll, int, int) {
    auto* watch = static_cast<Watch*>(poll->data);
    const Napi::HandleScope scope(watch->env_);
    uv_poll_stop(poll);
    const Napi::Function callback = watch->onExit_.Value();
    callback.MakeCallback(watch->env_.Global(), {}, watch->context_);
  }

  Napi::Env env_;
  UniqueFd pidfd_;
  Napi::FunctionReference onExit_;
  Napi::AsyncContext context_;
  uv_poll_t poll_ = {};
  bool closed_ = false;
};

}  // namespace

Napi::Value watchPid(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber() || !info[1].IsFunction()) {
    Napi::TypeError::New(env, "watchPid(pid: number, onExit: function)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  UniqueFd pidfd = openPidfd(info[0].ToNumber().Int32Value());
  if (!pidfd.valid()) {
    throwSystemError(env, errno, "pidfd_open");
    return env.Undefined();
  }
  int problem = 0;
  Watch* watch = Watch::start(env, std::move(pidfd), info[1].As<Napi::Function>(), problem);
  if (watch == nullptr) {
    throwSystemError(env, -problem, "uv_poll");
    return env.Undefined();
  }
  // The watch outlives close() until libuv is done with it, hence the flag and not the pointer is what a second
  // close() looks at.
  const auto open = std::make_shared<bool>(true);
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("close", Napi::Function::New(env, [watch, open](const Napi::CallbackInfo&) {
               if (!*open) return;
               *open = false;
               watch->close();
             }));
  return handle;
}

Napi::Value signalPid(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const UniqueFd pidfd = openPidfd(info[0].ToNumber().Int32Value());
  const int signal = info[1].ToNumber().Int32Value();
  if (pidfd.valid() && syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) == 0) {
    return Napi::Boolean::New(env, true);
  }
  if (errno != ESRCH) throwSystemError(env, errno, pidfd.valid() ? "pidfd_send_signal" : "pidfd_open");
  return Napi::Boolean::New(env, false);
}

}  // namespace shoal::host
