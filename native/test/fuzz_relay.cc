/**
 * libFuzzer target: a hostile relay. The input is what comes over the wire, in chunks of TCP or as it lands in memory,
 * while a local instance sends and receives. The connection may end, nothing else may happen. See native/test/fuzz.
 */
#include <algorithm>
#include <csignal>
#include <cstring>

#include "relay/plain_chunks.h"
#include "relay/sealed_chunks.h"
#include "relay_world.h"

using namespace shoal::relay;
using shoal::test::TestChannel;

namespace {

constexpr uint32_t kRingBytes = shoal::fabric::kRingBytesMin;

Stream makeStream() {
  std::string problem;
  std::optional<MirroredBuffer> out = MirroredBuffer::create(kStreamBytesMin, problem);
  std::optional<MirroredBuffer> in = MirroredBuffer::create(kStreamBytesMin, problem);
  CHECK(out && in);
  return Stream(std::move(*out), std::move(*in));
}

/** Puts the next bytes to where a carrier would; false when that already shows a hostile peer. */
bool arrive(Stream& stream, ChunkReader* reader, const uint8_t*& data, size_t& size, size_t count) {
  count = std::min(count, size);
  if (reader != nullptr) {
    iovec places[2];
    const int number = reader->places(stream, places);
    size_t copied = 0;
    for (int i = 0; i < number; ++i) {
      const size_t here = std::min(count - copied, places[i].iov_len);
      std::memcpy(places[i].iov_base, data + copied, here);
      copied += here;
    }
    count = copied;
    if (reader->took(stream, count) != Took::sound) return false;
  } else {
    count = std::min<size_t>(count, stream.landingRoom());
    std::memcpy(stream.landing(), data, count);
    stream.land(count);
  }
  data += count;
  size -= count;
  return true;
}

/** Nothing (as by verbs), chunks, or sealed ones, none of which the input can make. */
std::unique_ptr<ChunkReader> makeReader(int kind) {
  if (kind < 2) return nullptr;
  if (kind == 2) return std::make_unique<PlainReader>();
  std::string problem;
  auto cipher = crypto::ChunkCipher::create(crypto::ChunkCipher::Way::opens, crypto::Secret{}, problem);
  CHECK(cipher);
  return std::make_unique<SealedReader>(std::move(cipher));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::signal(SIGPIPE, SIG_IGN);
  if (size == 0) return 0;
  const std::unique_ptr<ChunkReader> reader = makeReader(*data % 4);
  const size_t step = 1 + (*data >> 2);
  data += 1;
  size -= 1;
  Session session(makeStream());
  TestChannel channel(kRingBytes);
  std::string problem;
  CHECK(session.attach(1, channel.openRelaySide(), kRingBytes, problem));
  shoal::test::ChannelEnd& instance = *channel.instance;
  while (size > 0) {
    if (!arrive(session.stream(), reader.get(), data, size, step)) return 0;
    if (session.process() == Turn::hostile) return 0;
    session.pump();
    shoal::fabric::Record record;
    while (instance.in.next(record) == shoal::fabric::Take::record) CHECK(record.length <= instance.out.lengthMax());
    CHECK(instance.in.corruption() == shoal::fabric::Corruption::none);
    if (instance.in.release()) instance.bell.strike();
    if (instance.out.loan(step) != nullptr) {
      instance.out.commit(static_cast<uint32_t>(step));
      if (instance.out.publish()) instance.bell.strike();
    }
    session.announceSleep();
    session.hear(1);
    session.stream().send(session.stream().unsent());
  }
  return 0;
}
