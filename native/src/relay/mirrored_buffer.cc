#include "relay/mirrored_buffer.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/unique_fd.h"

namespace shoal::relay {
namespace {

constexpr uint64_t kHugePageBytes = 2u << 20;

/** A file with all its pages; not valid when the kernel has none to give. */
UniqueFd reserve(uint64_t bytes, unsigned flags) {
  UniqueFd fd(memfd_create("shoal-stream", MFD_CLOEXEC | flags));
  if (fd.valid() && fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) fd.reset();
  return fd;
}

std::byte* nextHugePage(std::byte* at) {
  const uint64_t over = reinterpret_cast<uintptr_t>(at) % kHugePageBytes;
  return over == 0 ? at : at + (kHugePageBytes - over);
}

}  // namespace

std::optional<MirroredBuffer> MirroredBuffer::create(uint64_t bytes, std::string& problem) {
  assert(std::has_single_bit(bytes) && bytes % static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) == 0);
  const auto fail = [&problem](const char* what) {
    problem = std::string(what) + ": " + std::strerror(errno);
    return std::nullopt;
  };
  UniqueFd fd;
  if (bytes % kHugePageBytes == 0) fd = reserve(bytes, MFD_HUGETLB | MFD_HUGE_2MB);
  if (!fd.valid()) fd = reserve(bytes, 0);
  if (!fd.valid()) return fail("memory of a stream");
  // Huge pages can only be at multiples of their size.
  const uint64_t placeBytes = 2 * bytes + kHugePageBytes;
  void* place = mmap(nullptr, placeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return fail("mmap");
  MirroredBuffer buffer({static_cast<std::byte*>(place), placeBytes}, bytes);
  for (uint64_t half = 0; half < 2; ++half) {
    void* const at = buffer.data_ + half * bytes;
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0) == MAP_FAILED) return fail("mmap");
  }
  return buffer;
}

MirroredBuffer::MirroredBuffer(std::span<std::byte> place, uint64_t bytes)
    : place_(place), data_(nextHugePage(place.data())), bytes_(bytes) {}

MirroredBuffer::MirroredBuffer(MirroredBuffer&& other) noexcept
    : place_(std::exchange(other.place_, {})), data_(other.data_), bytes_(other.bytes_) {}

MirroredBuffer::~MirroredBuffer() {
  if (!place_.empty()) munmap(place_.data(), place_.size());
}

}  // namespace shoal::relay
