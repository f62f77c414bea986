#include "fabric/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shoal::fabric {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::string because(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

Segment::Segment(Segment&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      ringBytes_(other.ringBytes_) {}

Segment& Segment::operator=(Segment&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(ringBytes_, other.ringBytes_);
  return *this;
}

Segment::~Segment() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

bool Segment::mapAll(int fd, size_t bytes, std::string& problem) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (data == MAP_FAILED) {
    problem = because("mmap");
    return false;
  }
  data_ = static_cast<std::byte*>(data);
  bytes_ = bytes;
  return true;
}

UniqueFd Segment::prepare(uint32_t ringBytes, std::string& problem) {
  assert(isRingSize(ringBytes));
  const SegmentStamp stamp = {kMagic, kVersion, ringBytes};
  UniqueFd fd(memfd_create("shoal-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(segmentBytes(ringBytes))) != 0 ||
      pwrite(fd.get(), &stamp, sizeof stamp, 0) != sizeof stamp || fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    problem = because("no shared memory");
    fd.reset();
  }
  return fd;
}

std::optional<Segment> Segment::map(UniqueFd fd, std::string& problem) {
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  struct stat status = {};
  if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd.get(), &status) != 0) {
    problem = "not a sealed memory file";
    return std::nullopt;
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  if (bytes < segmentBytes(kRingBytesMin)) {
    problem = "too small for a channel";
    return std::nullopt;
  }
  // All pages are there before the first access, which could not fail with less than the end of the process.
  if (fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
    problem = because("no memory for a channel");
    return std::nullopt;
  }
  Segment segment;
  if (!segment.mapAll(fd.get(), bytes, problem)) return std::nullopt;
  // From here on only the copy counts: the peer can change the stamp, but not what we think of it.
  SegmentStamp stamp;
  std::memcpy(&stamp, segment.data_, sizeof stamp);
  if (stamp.magic != kMagic || stamp.version != kVersion || !isRingSize(stamp.ringBytes) ||
      segmentBytes(stamp.ringBytes) > bytes) {
    problem = "not a channel of this version";
    return std::nullopt;
  }
  segment.ringBytes_ = stamp.ringBytes;
  return segment;
}

Ring Segment::ring(int index) const {
  assert(index == 0 || index == 1);
  return {&header()->rings[index], data_ + kHeaderBytes + static_cast<size_t>(index) * ringBytes_, ringBytes_};
}

}  // namespace shoal::fabric
