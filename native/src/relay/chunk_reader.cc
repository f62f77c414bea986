#include "relay/chunk_reader.h"

#include <algorithm>
#include <cstring>

namespace shoal::relay {

int ChunkReader::places(Stream& stream, iovec (&places)[2]) {
  // Between two reads the buffer holds a part of a header at most, and then no chunk has begun.
  int count = 0;
  if (left_ > 0) places[count++] = {stream.landing(), left_};
  places[count++] = {buffer_.get() + end_, kBufferBytes - end_};
  return count;
}

bool ChunkReader::took(Stream& stream, size_t bytes) {
  const size_t direct = std::min<size_t>(bytes, left_);
  stream.land(direct);
  left_ -= static_cast<uint32_t>(direct);
  end_ += bytes - direct;
  while (end_ - begin_ >= sizeof(ChunkHeader)) {
    if (!takeHeader(stream)) return false;
    const size_t here = std::min<size_t>(left_, end_ - begin_);
    std::memcpy(stream.landing(), buffer_.get() + begin_, here);
    stream.land(here);
    begin_ += here;
    left_ -= static_cast<uint32_t>(here);
    if (left_ > 0) break;
  }
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  return true;
}

bool ChunkReader::takeHeader(Stream& stream) {
  ChunkHeader header;
  std::memcpy(&header, buffer_.get() + begin_, sizeof header);
  begin_ += sizeof header;
  if (header.unused != 0 || header.length > stream.landingRoom()) return false;
  left_ = header.length;
  return stream.acknowledge(header.processed);
}

}  // namespace shoal::relay
