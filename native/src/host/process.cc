#include "host/process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "common/polled.h"
#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

UniqueFd openPidfd(pid_t pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

/** Polls one pidfd on Node's event loop. */
class Watch : public Polled {
 public:
  Watch(Napi::Env env, UniqueFd pidfd, const Napi::Function& onExit)
      : Polled(env),
        pidfd_(std::move(pidfd)),
        onExit_(Napi::Persistent(onExit)),
        context_(std::in_place, env, "shoal.watchPid") {}

  int start() { return watch(pidfd_.get()); }

 private:
  void onReadable() override {
    const Napi::HandleScope scope(env());
    stop();
    onExit_.Value().MakeCallback(env().Global(), {}, *context_);
  }
  void onClosing() override {
    onExit_.Reset();
    context_.reset();
  }

  UniqueFd pidfd_;
  Napi::FunctionReference onExit_;
  std::optional<Napi::AsyncContext> context_;
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
  auto* watch = new Watch(env, std::move(pidfd), info[1].As<Napi::Function>());
  const Polled::Self self = watch->self();
  if (const int problem = watch->start(); problem != 0) {
    throwSystemError(env, -problem, "uv_poll");
    return env.Undefined();
  }
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("close", Napi::Function::New(env, [self](const Napi::CallbackInfo&) {
               if (*self != nullptr) (*self)->close();
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
