#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/unique_fd.h"

namespace shoal::shim {

/**
 * A log that is rotated by size: PATH is the newest, PATH.1 the one before, up to PATH.(filesMax - 1).
 * No file grows beyond bytesMax, and no line is cut in two by a rotation.
 * Where the disk is full lines are lost, and the next line that can be written says how many bytes were.
 */
class LogFile {
 public:
  LogFile(std::string path, uint64_t bytesMax, uint64_t filesMax);

  /** Appends whole lines, each ending in a newline and shorter than bytesMax. */
  void append(std::string_view lines);

 private:
  bool open();
  void rotate();
  void write(std::string_view lines);

  std::string path_;
  uint64_t bytesMax_;
  uint64_t filesMax_;
  uint64_t size_ = 0;
  uint64_t lostBytes_ = 0;
  UniqueFd fd_;
};

}  // namespace shoal::shim
