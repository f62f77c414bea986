#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shoal::shim {

/** The moment (microseconds since 1970) as RFC 3339 in UTC, such as `2026-01-02T03:04:05.678901Z`. */
std::string rfc3339(int64_t unixMicros);

/** Turns the bytes of one stream into whole lines, each as `TIME STREAM TEXT\n`. Holds at most kLineBytesMax bytes. */
class LinePrefixer {
 public:
  explicit LinePrefixer(std::string stream) : stream_(std::move(stream)) {}

  /** Takes the bytes read at this moment and appends the lines that they complete to `out`. */
  void append(std::string_view bytes, int64_t unixMicros, std::string& out);
  /** At the end of the stream: appends the last line when it had no newline. */
  void finish(int64_t unixMicros, std::string& out);

 private:
  void emit(int64_t unixMicros, std::string& out);

  std::string stream_;
  std::string partial_;
};

}  // namespace shoal::shim
