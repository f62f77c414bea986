#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace shoal::symbols {

/** Takes DWARF's kinds of values off the front of bytes that may end anywhere; once they have, everything is 0. */
class CfiReader {
 public:
  /** `address`: of the first byte in memory, for pointers that count from their own place. */
  CfiReader(std::string_view bytes, uint64_t address) : bytes_(bytes), address_(address) {}

  bool failed() const { return failed_; }
  bool atEnd() const { return failed_ || bytes_.empty(); }
  size_t left() const { return failed_ ? 0 : bytes_.size(); }
  uint64_t address() const { return address_; }

  template <typename T>
  T fixed() {
    T value = 0;
    if (!has(sizeof value)) return 0;
    std::memcpy(&value, bytes_.data(), sizeof value);
    skip(sizeof value);
    return value;
  }

  uint64_t uleb() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const auto byte = fixed<uint8_t>();
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    fail();
    return 0;
  }

  int64_t sleb() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const auto byte = fixed<uint8_t>();
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) != 0) continue;
      if ((byte & 0x40) != 0 && shift + 7 < 64) value |= ~uint64_t{0} << (shift + 7);
      return static_cast<int64_t>(value);
    }
    fail();
    return 0;
  }

  /** Up to the next zero byte, which is passed over. */
  std::string_view text() {
    const size_t end = failed_ ? std::string_view::npos : bytes_.find('\0');
    if (end == std::string_view::npos) {
      fail();
      return "";
    }
    const std::string_view text = bytes_.substr(0, end);
    skip(end + 1);
    return text;
  }

  std::string_view block(uint64_t length) {
    if (!has(length)) return "";
    const std::string_view block = bytes_.substr(0, length);
    skip(length);
    return block;
  }

  void fail() {
    failed_ = true;
    bytes_ = "";
  }

 private:
  bool has(uint64_t length) {
    if (length > bytes_.size()) fail();
    return !failed_;
  }
  void skip(size_t length) {
    bytes_.remove_prefix(length);
    address_ += length;
  }

  std::string_view bytes_;
  uint64_t address_;
  bool failed_ = false;
};

}  // namespace shoal::symbols
