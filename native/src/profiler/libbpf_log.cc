#include "profiler/libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace shoal::profiler {
namespace {

constexpr size_t kLogBytesMax = 2000;

std::string& kept() {
  static std::string log;
  return log;
}

int keep(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  char line[1024];
  const int length = std::vsnprintf(line, sizeof line, format, arguments);
  kept() += line;
  if (kept().size() > kLogBytesMax) kept().erase(0, kept().size() - kLogBytesMax);
  return length;
}

}  // namespace

void keepLibbpfLog() {
  kept().clear();
  libbpf_set_print(keep);
}

const std::string& libbpfLog() { return kept(); }

}  // namespace shoal::profiler
