#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/** As much of msgpack (github.com/msgpack/msgpack/blob/master/spec.md) as messages need; bodies pass unread. */
namespace shoal::client {

/** Takes values from bytes that anyone may have sent: what does not fit is nothing, and nothing is read beyond the end.
 */
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool atEnd() const { return rest_.empty(); }

  /** How many keys with values follow. */
  std::optional<uint32_t> map();
  std::optional<uint32_t> array();
  std::optional<std::string_view> text();
  /** Integers and floats alike. */
  std::optional<double> number();
  /** Whether the next value is nil; then it is taken. */
  bool nil();
  /** The bytes of one whole value. */
  std::optional<std::string_view> raw();

 private:
  std::optional<uint64_t> unsignedOf(size_t bytes);
  std::optional<std::string_view> take(size_t bytes);
  bool skip(int depth);

  std::string_view rest_;
};

/** Appends values to a text of bytes. */
class Writer {
 public:
  Writer& map(uint32_t pairs);
  Writer& array(uint32_t items);
  Writer& text(std::string_view value);
  Writer& number(uint64_t value);
  Writer& real(double value);
  Writer& boolean(bool value);
  /** A whole value. */
  Writer& raw(std::string_view value);

  const std::string& bytes() const { return bytes_; }

 private:
  void byte(unsigned value) { bytes_.push_back(static_cast<char>(value)); }
  void big(uint64_t value, size_t bytes);
  void head(uint32_t count, unsigned fix, uint32_t fixMax, unsigned sixteen);

  std::string bytes_;
};

}  // namespace shoal::client
