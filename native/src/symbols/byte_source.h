#pragma once

#include <cstddef>
#include <cstdint>

#include "common/unique_fd.h"

namespace shoal::symbols {

/** Bytes of a file that may change or shrink at any moment: they are copied out, never mapped. */
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /** All of the bytes, or false. */
  virtual bool read(uint64_t offset, void* to, size_t bytes) const = 0;
};

/** Of a regular file. */
class FileSource : public ByteSource {
 public:
  explicit FileSource(UniqueFd file) : file_(std::move(file)) {}
  bool read(uint64_t offset, void* to, size_t bytes) const override;
  int descriptor() const { return file_.get(); }

 private:
  UniqueFd file_;
};

}  // namespace shoal::symbols
