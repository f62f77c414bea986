#include "client/msgpack.h"

#include <bit>

namespace shoal::client {
namespace {

/** Deeper values are refused: skipping them would use up the stack. */
constexpr int kDepthMax = 100;

}  // namespace

std::optional<std::string_view> Reader::take(size_t bytes) {
  if (bytes > rest_.size()) return std::nullopt;
  const std::string_view taken = rest_.substr(0, bytes);
  rest_.remove_prefix(bytes);
  return taken;
}

std::optional<uint64_t> Reader::unsignedOf(size_t bytes) {
  const std::optional<std::string_view> taken = take(bytes);
  if (!taken) return std::nullopt;
  uint64_t value = 0;
  for (const char each : *taken) value = value << 8 | static_cast<unsigned char>(each);
  return value;
}

std::optional<uint32_t> Reader::map() {
  const std::optional<uint64_t> head = unsignedOf(1);
  if (!head) return std::nullopt;
  if ((*head & 0xf0) == 0x80) return *head & 0x0f;
  if (*head != 0xde && *head != 0xdf) return std::nullopt;
  return unsignedOf(*head == 0xde ? 2 : 4);
}

std::optional<uint32_t> Reader::array() {
  const std::optional<uint64_t> head = unsignedOf(1);
  if (!head) return std::nullopt;
  if ((*head & 0xf0) == 0x90) return *head & 0x0f;
  if (*head != 0xdc && *head != 0xdd) return std::nullopt;
  return unsignedOf(*head == 0xdc ? 2 : 4);
}

std::optional<std::string_view> Reader::text() {
  const std::optional<uint64_t> head = unsignedOf(1);
  if (!head) return std::nullopt;
  if ((*head & 0xe0) == 0xa0) return take(*head & 0x1f);
  if (*head < 0xd9 || *head > 0xdb) return std::nullopt;
  const std::optional<uint64_t> length = unsignedOf(size_t{1} << (*head - 0xd9));
  return length ? take(*length) : std::nullopt;
}

std::optional<double> Reader::number() {
  const std::optional<uint64_t> head = unsignedOf(1);
  if (!head) return std::nullopt;
  if (*head < 0x80) return static_cast<double>(*head);
  if (*head >= 0xe0) return static_cast<int8_t>(*head);
  if (*head < 0xca || *head > 0xd3) return std::nullopt;
  if (*head == 0xca || *head == 0xcb) {
    const std::optional<uint64_t> bits = unsignedOf(*head == 0xca ? 4 : 8);
    if (!bits) return std::nullopt;
    return *head == 0xca ? std::bit_cast<float>(static_cast<uint32_t>(*bits)) : std::bit_cast<double>(*bits);
  }
  const bool isSigned = *head >= 0xd0;
  const size_t bytes = size_t{1} << (*head - (isSigned ? 0xd0 : 0xcc));
  const std::optional<uint64_t> value = unsignedOf(bytes);
  if (!value) return std::nullopt;
  if (!isSigned) return static_cast<double>(*value);
  const unsigned unused = 64 - 8 * bytes;
  return static_cast<double>(static_cast<int64_t>(*value << unused) >> unused);
}

bool Reader::nil() {
  if (rest_.empty() || rest_.front() != '\xc0') return false;
  rest_.remove_prefix(1);
  return true;
}

std::optional<std::string_view> Reader::raw() {
  const std::string_view before = rest_;
  if (!skip(0)) return std::nullopt;
  return before.substr(0, before.size() - rest_.size());
}

bool Reader::skip(int depth) {
  const std::optional<uint64_t> head = depth > kDepthMax ? std::nullopt : unsignedOf(1);
  if (!head) return false;
  const uint64_t kind = *head;
  const auto skipBytes = [this](std::optional<uint64_t> length, uint64_t more) {
    return length && take(*length + more).has_value();
  };
  const auto skipItems = [this, depth](std::optional<uint64_t> count, uint64_t each) {
    if (!count) return false;
    for (uint64_t i = 0; i < *count * each; ++i) {
      if (!skip(depth + 1)) return false;
    }
    return true;
  };
  if (kind < 0x80 || kind >= 0xe0) return true;
  if (kind < 0x90) return skipItems(kind & 0x0f, 2);
  if (kind < 0xa0) return skipItems(kind & 0x0f, 1);
  if (kind < 0xc0) return skipBytes(kind & 0x1f, 0);
  switch (kind) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return skipBytes(unsignedOf(size_t{1} << (kind - 0xc4)), 0);
    case 0xc7:
    case 0xc8:
    case 0xc9:
      return skipBytes(unsignedOf(size_t{1} << (kind - 0xc7)), 1);
    case 0xca:
    case 0xce:
    case 0xd2:
      return skipBytes(4, 0);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return skipBytes(8, 0);
    case 0xcc:
    case 0xd0:
      return skipBytes(1, 0);
    case 0xcd:
    case 0xd1:
      return skipBytes(2, 0);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return skipBytes(uint64_t{1} << (kind - 0xd4), 1);
    case 0xd9:
    case 0xda:
    case 0xdb:
      return skipBytes(unsignedOf(size_t{1} << (kind - 0xd9)), 0);
    case 0xdc:
    case 0xdd:
      return skipItems(unsignedOf(kind == 0xdc ? 2 : 4), 1);
    case 0xde:
    case 0xdf:
      return skipItems(unsignedOf(kind == 0xde ? 2 : 4), 2);
    default:
      return false;
  }
}

void Writer::big(uint64_t value, size_t bytes) {
  for (size_t i = bytes; i-- > 0;) byte(value >> (8 * i) & 0xff);
}

void Writer::head(uint32_t count, unsigned fix, uint32_t fixMax, unsigned sixteen) {
  if (count <= fixMax) {
    byte(fix | count);
  } else if (count <= 0xffff) {
    byte(sixteen);
    big(count, 2);
  } else {
    byte(sixteen + 1);
    big(count, 4);
  }
}

Writer& Writer::map(uint32_t pairs) {
  head(pairs, 0x80, 15, 0xde);
  return *this;
}

Writer& Writer::array(uint32_t items) {
  head(items, 0x90, 15, 0xdc);
  return *this;
}

Writer& Writer::text(std::string_view value) {
  head(static_cast<uint32_t>(value.size()), 0xa0, 31, 0xda);
  bytes_.append(value);
  return *this;
}

Writer& Writer::number(uint64_t value) {
  // JavaScript reads a longer integer as a BigInt.
  if (value > UINT32_MAX) return real(static_cast<double>(value));
  if (value < 0x80) {
    byte(static_cast<unsigned>(value));
  } else {
    byte(0xce);
    big(value, 4);
  }
  return *this;
}

Writer& Writer::real(double value) {
  byte(0xcb);
  big(std::bit_cast<uint64_t>(value), 8);
  return *this;
}

Writer& Writer::boolean(bool value) {
  byte(value ? 0xc3 : 0xc2);
  return *this;
}

Writer& Writer::raw(std::string_view value) {
  bytes_.append(value);
  return *this;
}

}  // namespace shoal::client
