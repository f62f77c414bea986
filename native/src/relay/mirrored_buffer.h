#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace shoal::relay {

/**
 * Memory of a stream: byte p is at p modulo its size, and the memory is mapped twice, one after the other, so that any
 * stretch of up to its size is in one piece. In huge pages of 2 MiB where it is made of whole ones and the host has
 * some set aside (vm.nr_hugepages); nobody else has the file, so that none can be taken away.
 */
class MirroredBuffer {
 public:
  /** `bytes`: a power of two, a multiple of the page size. */
  static std::optional<MirroredBuffer> create(uint64_t bytes, std::string& problem);

  MirroredBuffer(MirroredBuffer&& other) noexcept;
  MirroredBuffer(const MirroredBuffer&) = delete;
  MirroredBuffer& operator=(const MirroredBuffer&) = delete;
  ~MirroredBuffer();

  std::byte* at(uint64_t position) const { return data_ + (position & (bytes_ - 1)); }
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  MirroredBuffer(std::span<std::byte> place, uint64_t bytes);

  /** What is mapped, the memory in it. */
  std::span<std::byte> place_;
  std::byte* data_;
  uint64_t bytes_;
};

}  // namespace shoal::relay
