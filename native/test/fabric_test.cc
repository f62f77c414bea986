/** Tests of rings, segments and channels. Built twice: under ASan and UBSan, and under TSan. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "descriptors.h"
#include "fabric/channel.h"
#include "fabric/copy.h"
#include "pattern.h"

using namespace shoal::fabric;
using shoal::UniqueFd;
using shoal::test::fillPattern;
using shoal::test::isPattern;
using namespace std::chrono_literals;

namespace {

constexpr uint32_t kBytes = kRingBytesMin;

/** A ring in memory of exactly its size, so that ASan sees an access beyond it. */
struct TestRing {
  explicit TestRing(uint32_t position = 0, uint32_t size = kBytes) : bytes(size) {
    control->tail.store(position);
    control->head.store(position);
  }
  Ring ring() { return {control.get(), reinterpret_cast<std::byte*>(data.get()), bytes}; }
  SharedWord& header(uint32_t position) {
    return *reinterpret_cast<SharedWord*>(&data[position % (bytes / kWordBytes)]);
  }

  uint32_t bytes;
  std::unique_ptr<RingControl<SharedWord>> control = std::make_unique<RingControl<SharedWord>>();
  std::unique_ptr<uint64_t[]> data = std::make_unique<uint64_t[]>(bytes / kWordBytes);
};

bool send(Producer& producer, uint32_t number, uint32_t length, bool more = false) {
  std::byte* place = producer.loan(length);
  if (place == nullptr) return false;
  fillPattern(place, length, number);
  producer.commit(length, more);
  return true;
}

void expect(Consumer& consumer, uint32_t number, uint32_t length, bool more = false) {
  Record record;
  CHECK(consumer.next(record) == Take::record);
  CHECK(record.length == length && record.more == more);
  CHECK(reinterpret_cast<uintptr_t>(record.data) % kWordBytes == 0);
  CHECK(isPattern(record.data, length, number));
}

void testRecordsOfEveryLength() {
  // Positions pass 2^32 on the way.
  TestRing memory(0xffffff00u);
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  Record record;
  for (uint32_t length = 0; length <= producer.lengthMax(); ++length) {
    CHECK(send(producer, length, length, length % 3 == 0));
    CHECK(consumer.next(record) == Take::empty);
    CHECK(!producer.publish());
    expect(consumer, length, length, length % 3 == 0);
    CHECK(consumer.next(record) == Take::empty);
    CHECK(!consumer.release());
  }
  CHECK(producer.corruption() == Corruption::none && consumer.corruption() == Corruption::none);
}

void testStreamingCopy() {
  alignas(16) std::byte to[320];
  std::byte from[256];
  for (uint32_t length = 0; length <= sizeof from; ++length) {
    for (uint32_t offset = 0; offset <= 16; offset += kWordBytes) {
      fillPattern(from, length, length + offset);
      std::memset(to, 0xa5, sizeof to);
      copyStreaming(to + offset, from, length);
      CHECK(isPattern(to + offset, length, length + offset));
      CHECK(to[offset + length] == std::byte{0xa5});
    }
  }
}

void testBatchesAndFullRing() {
  TestRing memory;
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  Record record;
  uint32_t sent = 0;
  for (; send(producer, sent, 56); ++sent) {
  }
  CHECK(sent == kBytes / 64 - 1);  // one word always says that no record follows
  CHECK(consumer.next(record) == Take::empty);
  CHECK(!producer.publish() && !producer.publish());
  for (uint32_t i = 0; i < sent; ++i) expect(consumer, i, 56);
  CHECK(!send(producer, 0, 56));  // borrowed until release()
  CHECK(!consumer.release());
  CHECK(send(producer, 0, 56));
}

/** Who never has much under way stays at the begin of the ring, until a burst fills it. */
void testLapsStayInTheNearestCache() {
  constexpr uint32_t kLength = 100;
  const uint32_t words = 8 * kLapWords;
  const uint32_t mostWords = kLapWords + recordWords(kLength);
  TestRing memory(words - 1, words * kWordBytes);
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  const auto echo = [&](uint32_t number) {
    CHECK(send(producer, number, kLength));
    CHECK(!producer.publish());
    expect(consumer, number, kLength);
    CHECK(!consumer.release());
  };
  for (uint32_t i = 0; i < 1'000; ++i) {
    echo(i);
    CHECK(producer.position() % words < mostWords);
  }
  uint32_t burst = 0;
  for (; send(producer, burst, kLength); ++burst) {
  }
  CHECK(!producer.publish());
  for (uint32_t i = 0; i < burst; ++i) expect(consumer, i, kLength);
  CHECK(!consumer.release());
  uint32_t farthest = 0;
  for (uint32_t i = 0; i < 1'000; ++i) {
    echo(i);
    farthest = std::max(farthest, producer.position() % words);
  }
  CHECK(farthest > words - mostWords);
}

/** A record for which there would be no room behind the padding goes where it is, and does not wait. */
void testLongRecordsBeginNoLap() {
  const uint32_t words = 8 * kLapWords;
  TestRing memory(0, words * kWordBytes);
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK(send(producer, i, producer.lengthMax()));
    CHECK(!producer.publish());
    expect(consumer, i, producer.lengthMax());
    CHECK(!consumer.release());
  }
}

void testLoanMayShrinkOrBeDropped() {
  TestRing memory;
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  CHECK(producer.loan(producer.lengthMax()) != nullptr);
  CHECK(!producer.publish());
  std::byte* place = producer.loan(100);
  fillPattern(place, 7, 1);
  producer.commit(7);
  CHECK(!producer.publish());
  expect(consumer, 1, 7);
}

void testFlagsAskForTheBellOnce() {
  TestRing memory;
  Producer producer(memory.ring());
  Consumer consumer(memory.ring());
  CHECK(consumer.announceSleep());
  CHECK(send(producer, 0, 8) && producer.publish());
  CHECK(send(producer, 1, 8) && !producer.publish());
  CHECK(!consumer.announceSleep());
  expect(consumer, 0, 8);
  expect(consumer, 1, 8);
  CHECK(!consumer.release());
  uint32_t sent = 0;
  while (send(producer, sent, 56)) sent += 1;
  CHECK(!producer.publish());
  CHECK(producer.announceWait(56));
  uint32_t taken = 0;
  for (bool struck = false; !struck; ++taken) {
    expect(consumer, taken, 56);
    struck = consumer.release();
  }
  CHECK(taken >= sent / 2 && taken < sent);
  CHECK(!producer.announceWait(56));
}

/** What a scribbling producer does to the consumer: an error with its reason, for good. */
void testHostileProducer() {
  struct Case {
    uint32_t header;
    Corruption expected;
  };
  const Case cases[] = {{kFlagPresent | 8, Corruption::none},
                        {8, Corruption::flags},
                        {kFlagMore | 8, Corruption::flags},
                        {kFlagPresent | kFlagMore | kFlagPadding | 8, Corruption::flags},
                        {kFlagPresent | recordBytesMax(kBytes), Corruption::none},
                        {kFlagPresent | (recordBytesMax(kBytes) + 1), Corruption::length},
                        {kFlagPresent | kLengthMask, Corruption::length},
                        {kFlagPresent | kFlagPadding | 8, Corruption::length}};  // does not end where the ring does
  for (const Case& test : cases) {
    TestRing memory;
    Consumer consumer(memory.ring());
    memory.header(0).store(test.header);
    Record record;
    CHECK(consumer.next(record) == (test.expected == Corruption::none ? Take::record : Take::corrupt));
    CHECK(consumer.corruption() == test.expected);
    if (test.expected == Corruption::none) continue;
    memory.header(0).store(kFlagPresent | 8);
    CHECK(consumer.next(record) == Take::corrupt);
    CHECK(consumer.ready() && !consumer.announceSleep());
  }
}

void testRecordMustNotWrap() {
  const uint32_t words = kBytes / kWordBytes;
  TestRing memory(words - 1);
  Consumer consumer(memory.ring());
  memory.header(words - 1).store(kFlagPresent | 8);
  Record record;
  CHECK(consumer.next(record) == Take::corrupt);
  CHECK(consumer.corruption() == Corruption::length);
}

void testRecordsMustNotGoOverThoseOnLoan() {
  TestRing memory;
  Consumer consumer(memory.ring());
  Record record;
  const uint32_t words = recordWords(recordBytesMax(kBytes));
  for (uint32_t i = 0; i < 4; ++i) {
    memory.header(i * words).store(kFlagPresent | recordBytesMax(kBytes));
    CHECK(consumer.next(record) == (i < 3 ? Take::record : Take::corrupt));
  }
  CHECK(consumer.corruption() == Corruption::position);
}

void testHostileConsumer() {
  for (const uint32_t head : {1u, 0x80000000u, 0xffffffffu}) {
    TestRing memory;
    Producer producer(memory.ring());
    while (send(producer, 0, 56)) {
    }
    // Gives back what was not published yet, or what was never written.
    memory.control->head.store(head);
    CHECK(producer.loan(56) == nullptr);
    CHECK(producer.corruption() == Corruption::position);
    CHECK(!producer.publish());
    CHECK(!producer.announceWait(8));
  }
}

/** Both ends at work while a third party writes at random everywhere: no crash, no access outside, and an end. */
void testScribbling(unsigned seed) {
  TestRing memory;
  std::atomic<bool> done = false;
  std::thread scribbler([&] {
    std::mt19937 random(seed);
    while (!done) {
      SharedWord* const words[] = {&memory.control->tail, &memory.control->head};
      if (random() % 16 == 0) words[random() % 2]->store(random() % 2 == 0 ? random() : random() % 1024);
      memory.header(random()).store(random() % 512 | random() << 29);
    }
  });
  std::mt19937 random(seed + 1);
  for (int i = 0; i < 200; ++i) {
    Producer producer(memory.ring());
    Consumer consumer(memory.ring());
    Record record;
    for (int step = 0; step < 100; ++step) {
      const uint32_t length = random() % (producer.lengthMax() + 1);
      if (std::byte* place = producer.loan(length); place != nullptr && length >= 4) {
        reinterpret_cast<SharedWord*>(place)->store(step);
        producer.commit(length);
      }
      (void)producer.publish();
      while (consumer.next(record) == Take::record) {
        CHECK(record.data >= memory.ring().data);
        CHECK(record.data + record.length <= memory.ring().data + kBytes);
        if (random() % 4 == 0) (void)consumer.release();
      }
      (void)consumer.release();
    }
  }
  done = true;
  scribbler.join();
}

void testSegment() {
  std::string problem;
  const UniqueFd file = Segment::prepare(kBytes, problem);
  CHECK(file.valid());
  CHECK(ftruncate(file.get(), 0) != 0 && ftruncate(file.get(), 1 << 20) != 0);
  CHECK(fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0);
  std::optional<Segment> segment = Segment::map(UniqueFd(dup(file.get())), problem);
  CHECK(segment && segment->bytes() == segmentBytes(kBytes));

  std::optional<Segment> other = Segment::map(UniqueFd(dup(file.get())), problem);
  CHECK(other && other->ringBytes() == kBytes);
  Producer producer(segment->ring(1));
  Consumer consumer(other->ring(1));
  CHECK(send(producer, 1, 100) && !producer.publish());
  expect(consumer, 1, 100);

  for (const uint32_t bytes : {0u, kBytes - 1, kBytes + 8, 2 * kBytes, 0x80000000u, 0xffffffffu}) {
    reinterpret_cast<SegmentHeader*>(segment->data())->stamp.ringBytes = bytes;
    CHECK(!Segment::map(UniqueFd(dup(file.get())), problem));
    CHECK(problem == "not a channel of this version");
  }
  const UniqueFd prepared = Segment::prepare(kBytes, problem);
  CHECK(prepared.valid());
  struct stat status = {};
  CHECK(fstat(prepared.get(), &status) == 0 && status.st_blocks * 512 <= 4096);  // none but the stamp's page
  CHECK(Segment::map(UniqueFd(dup(prepared.get())), problem));
  CHECK(fstat(prepared.get(), &status) == 0 && status.st_blocks * 512 == static_cast<long>(segmentBytes(kBytes)));
  CHECK(!Segment::map(UniqueFd(memfd_create("unsealed", MFD_ALLOW_SEALING)), problem));
  CHECK(!Segment::map(UniqueFd(open("/dev/null", O_RDWR)), problem));
  CHECK(!Segment::map(UniqueFd(), problem));
  CHECK(problem == "not a sealed memory file");
}

struct Ends {
  std::optional<ChannelEnd> side[2];
};

Ends makeEnds(uint32_t ringBytes = kBytes) {
  ChannelFds fds[2];
  std::string problem;
  CHECK(makeChannel(ringBytes, fds, problem));
  Ends ends;
  for (int i = 0; i < 2; ++i) ends.side[i] = ChannelEnd::open(std::move(fds[i]), i, problem);
  CHECK(ends.side[0] && ends.side[1]);
  return ends;
}

void testPeerGone() {
  Ends ends = makeEnds();
  ChannelEnd& end = *ends.side[0];
  Spin spin(1us);
  CHECK(waitForRecord(end.in, end.bell, spin, 0) == Wait::timeout);
  CHECK(send(ends.side[1]->out, 5, 50) && ends.side[1]->out.publish() == false);
  ends.side[1].reset();
  CHECK(waitForRecord(end.in, end.bell, spin, -1) == Wait::ready);  // what it sent before is there
  expect(end.in, 5, 50);
  CHECK(!end.in.release());
  CHECK(waitForRecord(end.in, end.bell, spin, -1) == Wait::peerGone);
  end.bell.strike();
  while (send(end.out, 0, 100)) {
  }
  CHECK(!end.out.publish());
  CHECK(waitForRoom(end.out, end.bell, spin, 100, -1) == Wait::peerGone);
}

/** A bell that nobody listens to fills up; striking it must not block even then. */
void testBellNeverBlocks() {
  Ends ends = makeEnds();
  for (int i = 0; i < 100'000; ++i) ends.side[0]->bell.strike();
  CHECK(ends.side[1]->bell.listen(0) == Wait::ready);
}

/**
 * Two threads, records of all lengths, and each waits for the other now and then. Both work on one mapping: only then
 * does TSan know that it is the same memory.
 */
void testTraffic(std::chrono::nanoseconds spinMost, uint32_t records) {
  TestRing memory;
  UniqueFd strike[2];
  UniqueFd listen[2];
  CHECK(makeBells(strike, listen));
  std::thread sender([&] {
    Producer producer(memory.ring());
    Bell bell(std::move(strike[0]), std::move(listen[0]));
    Spin spin(spinMost);
    std::mt19937 random(1);
    for (uint32_t i = 0; i < records; ++i) {
      const uint32_t length = random() % 8 == 0 ? random() % producer.lengthMax() : random() % 64;
      while (!send(producer, i, length)) {
        if (producer.publish()) bell.strike();
        CHECK(waitForRoom(producer, bell, spin, length, -1) == Wait::ready);
      }
      if (random() % 4 == 0 && producer.publish()) bell.strike();
    }
    if (producer.publish()) bell.strike();
  });
  Consumer consumer(memory.ring());
  Bell bell(std::move(strike[1]), std::move(listen[1]));
  Spin spin(spinMost);
  Record record;
  for (uint32_t i = 0; i < records;) {
    const Take taken = consumer.next(record);
    CHECK(taken != Take::corrupt);
    if (taken == Take::record) CHECK(isPattern(record.data, record.length, i++));
    if ((taken == Take::empty || i % 4 == 0) && consumer.release()) bell.strike();
    if (taken == Take::empty) CHECK(waitForRecord(consumer, bell, spin, -1) == Wait::ready);
  }
  sender.join();
}

}  // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  const size_t descriptors = openDescriptors();
  testRecordsOfEveryLength();
  testStreamingCopy();
  testBatchesAndFullRing();
  testLapsStayInTheNearestCache();
  testLongRecordsBeginNoLap();
  testLoanMayShrinkOrBeDropped();
  testFlagsAskForTheBellOnce();
  testHostileProducer();
  testRecordMustNotWrap();
  testRecordsMustNotGoOverThoseOnLoan();
  testHostileConsumer();
  for (unsigned seed = 0; seed < 10; ++seed) testScribbling(seed);
  testSegment();
  testPeerGone();
  testBellNeverBlocks();
  testTraffic(0us, 50'000);
  testTraffic(20us, 50'000);
  CHECK(openDescriptors() == descriptors);
  std::puts("fabric_test: all passed");
}
