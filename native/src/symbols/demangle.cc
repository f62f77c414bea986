#include "symbols/demangle.h"

#include <algorithm>
#include <charconv>
#include <csetjmp>
#include <string_view>

#include "symbols/limits.h"
#include "symbols/rust_v0.h"

/** The demangler of GCC's own run-time library, in the form that hands over its text part by part. */
extern "C" int __gcclibcxx_demangle_callback(const char* name, void (*part)(const char*, size_t, void*), void* opaque);

namespace shoal::symbols {
namespace {

struct Output {
  char text[kDemangledBytesMax];
  size_t bytes = 0;
  std::jmp_buf full;
};

/** It has no way to be told that it is enough. It is C and holds no memory but the stack's, so a jump out of it is
 * right. */
void take(const char* part, size_t bytes, void* opaque) {
  auto* output = static_cast<Output*>(opaque);
  const size_t room = kDemangledBytesMax - output->bytes;
  std::copy_n(part, std::min(bytes, room), output->text + output->bytes);
  output->bytes += std::min(bytes, room);
  if (bytes > room) std::longjmp(output->full, 1);
}

/** Without objects that have destructors, for the sake of the jump. Negative: no such name; otherwise whether it was
 * cut. */
int demangleInto(const char* name, Output& output) {
  if (setjmp(output.full) != 0) return 1;
  return __gcclibcxx_demangle_callback(name, take, &output) == 0 ? 0 : -1;
}

bool isHash(std::string_view text) {
  return text.size() == 17 && text[0] == 'h' && text.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

/** The text for one escape of Rust, as `LT` of `$LT$`; empty for one that is unknown. */
std::string unescape(std::string_view escape) {
  static constexpr std::pair<std::string_view, std::string_view> kKnown[] = {
      {"SP", "@"}, {"BP", "*"}, {"RF", "&"}, {"LT", "<"}, {"GT", ">"}, {"LP", "("}, {"RP", ")"}, {"C", ","}};
  for (const auto& [from, to] : kKnown) {
    if (escape == from) return std::string(to);
  }
  unsigned value = 0;
  if (!escape.starts_with('u')) return "";
  const auto [end, problem] = std::from_chars(escape.data() + 1, escape.data() + escape.size(), value, 16);
  const bool printable =
      problem == std::errc() && end == escape.data() + escape.size() && value >= 0x20 && value < 0x7f;
  return printable ? std::string(1, static_cast<char>(value)) : "";
}

/** Rust's older names end with a hash, and tell by escapes what C++ names cannot hold. */
std::string fromRust(std::string_view path) {
  std::string plain;
  while (!path.empty()) {
    if (path.starts_with("..")) {
      plain += "::";
      path.remove_prefix(2);
      continue;
    }
    if (path.starts_with("_$")) path.remove_prefix(1);
    if (path.front() == '$') {
      const size_t end = path.find('$', 1);
      const std::string text = end == std::string_view::npos ? "" : unescape(path.substr(1, end - 1));
      if (!text.empty()) {
        plain += text;
        path.remove_prefix(end + 1);
        continue;
      }
    }
    plain += path.front();
    path.remove_prefix(1);
  }
  return plain;
}

}  // namespace

std::string demangle(const std::string& name) {
  if (name.starts_with("_R")) return demangleRustV0(name).value_or(name);
  if (!name.starts_with("_Z")) return name;
  Output output;
  const int result = demangleInto(name.c_str(), output);
  if (result < 0) return name;
  const std::string text(output.text, output.bytes);
  if (result > 0) return text + "…";
  const size_t last = text.rfind("::");
  if (last != std::string::npos && isHash(std::string_view(text).substr(last + 2)))
    return fromRust(text.substr(0, last));
  return text;
}

}  // namespace shoal::symbols
