#include "relay/mirrored_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/unique_fd.h"

namespace shoal::relay {

std::optional<MirroredBuffer> MirroredBuffer::create(uint64_t bytes, std::string& problem) {
  assert(std::has_single_bit(bytes) && bytes % static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) == 0);
  const auto fail = [&problem](const char* what) {
    problem = std::string(what) + ": " + std::strerror(errno);
    return std::nullopt;
  };
  const UniqueFd fd(memfd_create("shoal-stream", MFD_CLOEXEC));
  if (!fd.valid() || fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) return fail("memory of a stream");
  void* place = mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return fail("mmap");
  MirroredBuffer buffer(static_cast<std::byte*>(place), bytes);
  for (uint64_t half = 0; half < 2; ++half) {
    void* const at = buffer.data_ + half * bytes;
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd.get(), 0) == MAP_FAILED) return fail("mmap");
  }
  return buffer;
}

MirroredBuffer::MirroredBuffer(MirroredBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MirroredBuffer::~MirroredBuffer() {
  if (data_ != nullptr) munmap(data_, 2 * bytes_);
}

}  // namespace shoal::relay
