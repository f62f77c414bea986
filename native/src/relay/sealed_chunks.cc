#include "relay/sealed_chunks.h"

#include <algorithm>
#include <cstring>

namespace shoal::relay {

using crypto::Tag;

bool SealedReader::proves(const Hello& hello, Tag& tag) {
  return cipher_->next(&hello, sizeof hello, nullptr, 0, nullptr, tag);
}

int SealedReader::places(Stream&, iovec (&places)[2]) {
  // Between two reads the buffer holds less than a chunk.
  places[0] = {buffer_.get() + end_, kBufferBytes - end_};
  return 1;
}

Took SealedReader::took(Stream& stream, size_t bytes) {
  end_ += bytes;
  while (end_ - begin_ >= sizeof(ChunkHeader)) {
    ChunkHeader header;
    std::memcpy(&header, buffer_.get() + begin_, sizeof header);
    if (header.unused != 0 || header.length > std::min<uint64_t>(kSealedBytesMax, stream.landingRoom()))
      return Took::forged;
    if (end_ - begin_ < sizeof header + header.length + crypto::kTagBytes) break;
    const Took opened = open(stream, header);
    if (opened != Took::sound) return opened;
  }
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  return Took::sound;
}

Took SealedReader::open(Stream& stream, const ChunkHeader& header) {
  const std::byte* bytes = buffer_.get() + begin_ + sizeof header;
  Tag tag;
  std::memcpy(tag.data(), bytes + header.length, tag.size());
  if (!cipher_->next(&header, sizeof header, bytes, header.length, stream.landing(), tag)) return Took::forged;
  begin_ += sizeof header + header.length + tag.size();
  stream.land(header.length);
  return stream.acknowledge(header.processed) ? Took::sound : Took::hostile;
}

std::optional<size_t> SealedWriter::sign(const Hello& hello, Tag& tag) {
  if (!cipher_->next(&hello, sizeof hello, nullptr, 0, nullptr, tag)) return std::nullopt;
  return tag.size();
}

bool SealedWriter::begin(Stream& stream, uint64_t processed) {
  sealed_ = sent_ = 0;
  do {
    if (!seal(stream, processed)) return false;
  } while (stream.unsent() > 0 && kBufferBytes - sealed_ >= kSealedChunkBytesMax);
  return true;
}

bool SealedWriter::seal(Stream& stream, uint64_t processed) {
  const ChunkHeader header = {static_cast<uint32_t>(std::min<uint64_t>(stream.unsent(), kSealedBytesMax)), 0,
                              processed};
  std::byte* place = buffer_.get() + sealed_;
  std::memcpy(place, &header, sizeof header);
  place += sizeof header;
  Tag tag;
  if (!cipher_->next(&header, sizeof header, stream.sending(), header.length, place, tag)) return false;
  std::memcpy(place + header.length, tag.data(), tag.size());
  stream.send(header.length);
  sealed_ += sizeof header + header.length + tag.size();
  return true;
}

int SealedWriter::places(Stream&, iovec (&places)[2]) {
  places[0] = {buffer_.get() + sent_, sealed_ - sent_};
  return 1;
}

void SealedWriter::sent(Stream&, size_t bytes) { sent_ += bytes; }

}  // namespace shoal::relay
