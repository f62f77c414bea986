#include "common/polled.h"

namespace shoal {

int Polled::watch(int fd) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env_, &loop);
  int problem = uv_poll_init(loop, &poll_, fd);
  if (problem != 0) {
    delete this;
    return problem;
  }
  uv_timer_init(loop, &timer_);
  poll_.data = timer_.data = this;
  handles_ = 2;
  napi_add_async_cleanup_hook(
      env_, [](napi_async_cleanup_hook_handle, void* data) { static_cast<Polled*>(data)->close(); }, this, &hook_);
  problem = resume();
  if (problem != 0) close();
  return problem;
}

int Polled::resume() {
  return uv_poll_start(&poll_, UV_READABLE,
                       [](uv_poll_t* poll, int, int) { static_cast<Polled*>(poll->data)->onReadable(); });
}

void Polled::pause(uint64_t ms) {
  stop();
  // Starting a handle that was started before and is open cannot fail, nor can a timer.
  uv_timer_start(
      &timer_, [](uv_timer_t* timer) { static_cast<Polled*>(timer->data)->resume(); }, ms, 0);
}

void Polled::close() {
  if (closed()) return;
  *self_ = nullptr;
  onClosing();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), onClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), onClosed);
}

void Polled::onClosed(uv_handle_t* handle) {
  auto* polled = static_cast<Polled*>(handle->data);
  if (--polled->handles_ > 0) return;
  // The hook keeps the environment, which the object needs to the end.
  napi_async_cleanup_hook_handle hook = polled->hook_;
  delete polled;
  napi_remove_async_cleanup_hook(hook);
}

}  // namespace shoal
