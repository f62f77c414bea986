#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "common/unique_fd.h"
#include "fabric/ring.h"

namespace shoal::fabric {

/** The shared memory of one channel: maps it, and unmaps it again. */
class Segment {
 public:
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  /**
   * The file of a new one with two empty rings of `ringBytes` each, a power of two. Its size is sealed, so that no end
   * can take pages away under the other. It has no memory yet: who maps it first takes that, so that it counts as
   * theirs and not as that of who only hands the file out. Not valid and `problem` when there cannot be one.
   */
  static UniqueFd prepare(uint32_t ringBytes, std::string& problem);

  /** Maps what a peer or the agent sent, after checking that its size can neither shrink nor differ from what it says.
   */
  static std::optional<Segment> map(UniqueFd fd, std::string& problem);

  Ring ring(int index) const;
  uint32_t ringBytes() const { return ringBytes_; }
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Segment() = default;
  bool mapAll(int fd, size_t bytes, std::string& problem);
  SegmentHeader* header() const { return reinterpret_cast<SegmentHeader*>(data_); }

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  uint32_t ringBytes_ = 0;
};

}  // namespace shoal::fabric
