#pragma once

#include <napi.h>
#include <uv.h>

#include <cstdint>
#include <memory>

namespace shoal {

/**
 * Something that waits for a descriptor on Node's event loop. It deletes itself when libuv has let go of it: after
 * close(), or when the environment (the process, or a worker thread) ends before.
 */
class Polled {
 public:
  /** What JavaScript keeps: points to nothing once this is closed. */
  using Self = std::shared_ptr<Polled*>;

  explicit Polled(Napi::Env env) : env_(env), self_(std::make_shared<Polled*>(this)) {}
  Polled(const Polled&) = delete;
  Polled& operator=(const Polled&) = delete;

  /** Begins; 0, or libuv's error, after which this object is gone. Once. */
  int watch(int fd);
  void close();
  const Self& self() const { return self_; }

 protected:
  virtual ~Polled() = default;

  virtual void onReadable() = 0;
  /** What belongs to JavaScript has to be let go of; nothing is called afterwards. */
  virtual void onClosing() = 0;
  bool closed() const { return *self_ == nullptr; }
  void stop() {
    uv_poll_stop(&poll_);
    uv_timer_stop(&timer_);
  }
  /** Looks at the descriptor no more for so long: what cannot be served now would keep the loop awake for nothing. */
  void pause(uint64_t ms);
  /** The event loop does not go on for this alone. */
  void unref() {
    uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
    uv_unref(reinterpret_cast<uv_handle_t*>(&timer_));
  }
  Napi::Env env() const { return env_; }

 private:
  Napi::Env env_;
  Self self_;
  int resume();
  static void onClosed(uv_handle_t* handle);

  uv_poll_t poll_ = {};
  /** Ends a pause. */
  uv_timer_t timer_ = {};
  /** Of libuv's that are not closed. */
  int handles_ = 0;
  /** Asynchronous, because the environment has to run its loop until the handle is closed. */
  napi_async_cleanup_hook_handle hook_ = nullptr;
};

}  // namespace shoal
