#pragma once

#include <cstring>
#include <string_view>

#include "symbols/byte_source.h"

/** Bytes of a file that a test holds in memory. */
class MemorySource : public shoal::symbols::ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  bool read(uint64_t offset, void* to, size_t count) const override {
    if (offset > bytes_.size() || count > bytes_.size() - offset) return false;
    if (count > 0) std::memcpy(to, bytes_.data() + offset, count);
    return true;
  }

 private:
  std::string_view bytes_;
};
