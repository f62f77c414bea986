#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::test {

/** Bytes that follow from the record's number and length, so that a record that is not whole shows. */
inline std::byte patternByte(uint32_t number, uint32_t length, uint32_t index) {
  return static_cast<std::byte>((number * 2654435761u + length * 40503u + index * 167u) >> 7);
}

inline void fillPattern(std::byte* bytes, uint32_t length, uint32_t number) {
  for (uint32_t i = 0; i < length; ++i) bytes[i] = patternByte(number, length, i);
}

inline bool isPattern(const std::byte* bytes, uint32_t length, uint32_t number) {
  for (uint32_t i = 0; i < length; ++i)
    if (bytes[i] != patternByte(number, length, i)) return false;
  return true;
}

}  // namespace shoal::test
