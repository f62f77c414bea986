#include "shim/line_prefixer.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "shim/limits.h"

namespace shoal::shim {

std::string rfc3339(int64_t unixMicros) {
  const time_t seconds = unixMicros / 1000000;
  struct tm utc = {};
  gmtime_r(&seconds, &utc);
  char date[32];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  snprintf(text, sizeof text, "%s.%06dZ", date, static_cast<int>(unixMicros % 1000000));
  return text;
}

void LinePrefixer::emit(int64_t unixMicros, std::string& out) {
  out += rfc3339(unixMicros);
  out += ' ';
  out += stream_;
  out += ' ';
  out += partial_;
  out += '\n';
  partial_.clear();
}

void LinePrefixer::append(std::string_view bytes, int64_t unixMicros, std::string& out) {
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const size_t line = newline == std::string_view::npos ? bytes.size() : newline;
    const size_t taken = std::min(line, kLineBytesMax - partial_.size());
    partial_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (!bytes.empty() && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      emit(unixMicros, out);
    } else if (!bytes.empty()) {
      emit(unixMicros, out);  // the line is too long: a piece of it
    }
  }
}

void LinePrefixer::finish(int64_t unixMicros, std::string& out) {
  if (!partial_.empty()) emit(unixMicros, out);
}

}  // namespace shoal::shim
