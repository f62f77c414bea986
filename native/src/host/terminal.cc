#include "host/terminal.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <limits>

#include "host/system_error.h"

namespace shoal::host {

void resizeTerminal(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  const int64_t columns = info[1].ToNumber().Int64Value();
  const int64_t rows = info[2].ToNumber().Int64Value();
  constexpr int64_t kMost = std::numeric_limits<uint16_t>::max();
  if (columns < 1 || columns > kMost || rows < 1 || rows > kMost) {
    Napi::RangeError::New(info.Env(), "columns and rows are from 1 to 65535").ThrowAsJavaScriptException();
    return;
  }
  winsize size = {};
  size.ws_col = static_cast<uint16_t>(columns);
  size.ws_row = static_cast<uint16_t>(rows);
  if (ioctl(fd, TIOCSWINSZ, &size) != 0) throwSystemError(info.Env(), errno, "ioctl");
}

}  // namespace shoal::host
