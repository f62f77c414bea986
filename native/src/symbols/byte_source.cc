#include "symbols/byte_source.h"

#include <unistd.h>

#include <cerrno>
#include <limits>

namespace shoal::symbols {

bool FileSource::read(uint64_t offset, void* to, size_t bytes) const {
  if (offset > static_cast<uint64_t>(std::numeric_limits<off_t>::max()) - bytes) return false;
  auto* target = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = pread(file_.get(), target, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    target += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace shoal::symbols
