#include "relay/plain_chunks.h"

#include <algorithm>
#include <cstring>

namespace shoal::relay {

int PlainReader::places(Stream& stream, iovec (&places)[2]) {
  // Between two reads the buffer holds a part of a header at most, and then no chunk has begun.
  int count = 0;
  if (left_ > 0) places[count++] = {stream.landing(), left_};
  places[count++] = {buffer_.get() + end_, kBufferBytes - end_};
  return count;
}

Took PlainReader::took(Stream& stream, size_t bytes) {
  const size_t direct = std::min<size_t>(bytes, left_);
  stream.land(direct);
  left_ -= static_cast<uint32_t>(direct);
  end_ += bytes - direct;
  while (end_ - begin_ >= sizeof(ChunkHeader)) {
    if (!takeHeader(stream)) return Took::hostile;
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
  return Took::sound;
}

bool PlainReader::takeHeader(Stream& stream) {
  ChunkHeader header;
  std::memcpy(&header, buffer_.get() + begin_, sizeof header);
  begin_ += sizeof header;
  if (header.unused != 0 || header.length > stream.landingRoom()) return false;
  left_ = header.length;
  return stream.acknowledge(header.processed);
}

bool PlainWriter::begin(Stream& stream, uint64_t processed) {
  chunk_ = {static_cast<uint32_t>(std::min<uint64_t>(stream.unsent(), kChunkBytesMax)), 0, processed};
  sent_ = 0;
  return true;
}

int PlainWriter::places(Stream& stream, iovec (&places)[2]) {
  const size_t headerSent = std::min(sent_, sizeof chunk_);
  places[0] = {reinterpret_cast<char*>(&chunk_) + headerSent, sizeof chunk_ - headerSent};
  places[1] = {stream.sending(), chunk_.length - (sent_ - headerSent)};
  return 2;
}

void PlainWriter::sent(Stream& stream, size_t bytes) {
  const size_t ofHeader = std::min(bytes, sizeof chunk_ - std::min(sent_, sizeof chunk_));
  sent_ += bytes;
  stream.send(bytes - ofHeader);
}

}  // namespace shoal::relay
