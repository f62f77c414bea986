/** Tests of the relay without cards: sessions by themselves, and two relays over TCP on loopback. */

#include <csignal>

#include "descriptors.h"
#include "relay/plain_chunks.h"
#include "relay/sealed_chunks.h"
#include "relay_world.h"

using namespace shoal::relay;
using namespace shoal::test;
using shoal::UniqueFd;
using shoal::fabric::kRingBytesMin;
using shoal::fabric::Take;
using namespace std::chrono_literals;

namespace {

Stream makeStream(uint64_t bytes = kStreamBytesMin) {
  std::string problem;
  std::optional<MirroredBuffer> out = MirroredBuffer::create(bytes, problem);
  std::optional<MirroredBuffer> in = MirroredBuffer::create(bytes, problem);
  CHECK(out && in);
  return Stream(std::move(*out), std::move(*in));
}

/** Moves up to `bytes` from one session's stream to the other's, as a carrier does; what was sent may be lost. */
void carry(Session& from, Session& to, uint64_t bytes) {
  Stream& source = from.stream();
  const uint64_t count = std::min(bytes, source.unsent());
  CHECK(count <= to.stream().landingRoom());
  std::memcpy(to.stream().landing(), source.sending(), count);
  source.send(count);
  to.stream().land(count);
}

void resume(Session& a, Session& b) {
  a.stream().restart();
  b.stream().restart();
  CHECK(a.stream().resume(b.stream().processed()));
  CHECK(b.stream().resume(a.stream().processed()));
}

bool trySend(ChannelEnd& end, uint32_t number) {
  const uint32_t length = lengthOf(number, end.out.lengthMax());
  std::byte* place = end.out.loan(length);
  if (place == nullptr) return false;
  fillPattern(place, length, number);
  end.out.commit(length, number % 3 == 0);
  (void)end.out.publish();
  return true;
}

bool tryReceive(ChannelEnd& end, uint32_t number, uint32_t lengthMax) {
  shoal::fabric::Record record;
  const Take taken = end.in.next(record);
  CHECK(taken != Take::corrupt);
  if (taken != Take::record) return false;
  CHECK(record.length == lengthOf(number, lengthMax) && record.more == (number % 3 == 0));
  CHECK(isPattern(record.data, record.length, number));
  return true;
}

/**
 * Several channels with rings of different sizes, in every order of steps that the seed makes, with a carrier that ends
 * at any byte: each record comes once, in order, in both directions.
 */
void testEachRecordOnceInOrder(unsigned seed) {
  constexpr int kChannels = 3;
  constexpr uint32_t kRecords = 300;
  std::mt19937 random(seed);
  Session sessions[2] = {Session(makeStream()), Session(makeStream())};
  std::vector<TestChannel> ends[2];
  uint32_t lengthMax[kChannels];
  for (int channel = 0; channel < kChannels; ++channel) {
    // The rings of the two hosts may differ; then records are as long as the smaller takes.
    const uint32_t bytes = kRingBytesMin << (random() % 3);
    for (auto& host : ends) host.emplace_back(bytes);
    lengthMax[channel] = shoal::fabric::recordBytesMax(bytes);
  }
  uint32_t sent[2][kChannels] = {};
  uint32_t received[2][kChannels] = {};
  int attached[2] = {};
  uint64_t left = 2 * kChannels * kRecords;
  for (uint64_t step = 0; left > 0; ++step) {
    CHECK(step < 3'000'000);
    const int host = static_cast<int>(random() % 2);
    const int channel = static_cast<int>(random() % kChannels);
    Session& session = sessions[host];
    ChannelEnd& instance = *ends[host][channel].instance;
    std::string problem;
    switch (random() % 8) {
      case 0:
        if (attached[host] < kChannels && random() % 4 == 0) {
          const int number = attached[host]++;
          ChannelEnd end = ends[host][number].openRelaySide();
          const uint32_t bytes = end.ringBytes();
          CHECK(session.attach(7 + number, std::move(end), bytes, problem));
        }
        break;
      case 1:
      case 2:
        if (sent[host][channel] < kRecords && trySend(instance, sent[host][channel])) sent[host][channel] += 1;
        session.hear(7 + channel);
        break;
      case 3:
        while (tryReceive(instance, received[host][channel], lengthMax[channel])) {
          received[host][channel] += 1;
          left -= 1;
        }
        if (instance.in.release()) instance.bell.strike();
        break;
      case 4:
        session.pump();
        break;
      case 5:
        CHECK(session.process() != Turn::hostile);
        CHECK(sessions[1 - host].stream().acknowledge(session.stream().processed()) ||
              sessions[1 - host].stream().acknowledged() == session.stream().processed());
        break;
      case 6:
        carry(session, sessions[1 - host], random() % 4096);
        break;
      default:
        if (random() % 16 == 0) resume(sessions[0], sessions[1]);
        if (random() % 4 == 0) {
          session.announceSleep();
          session.hear(7 + channel);
        }
    }
  }
  for (int host = 0; host < 2; ++host)
    for (int channel = 0; channel < kChannels; ++channel) CHECK(received[host][channel] == kRecords);
  CHECK(sessions[0].takeEnded().empty() && sessions[1].takeEnded().empty());
}

void land(Session& session, const FrameHeader& header, size_t payload = SIZE_MAX) {
  std::vector<std::byte> bytes(frameBytes(payload == SIZE_MAX ? header.length : static_cast<uint32_t>(payload)));
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(session.stream().landing(), bytes.data(), bytes.size());
  session.stream().land(bytes.size());
}

/** Each broken frame by itself ends the connection; right ones do not. */
void testHostileRelay() {
  const FrameHeader opens = {0, FrameKind::open, 0, 1, kRingBytesMin};
  struct Case {
    const char* what;
    std::vector<FrameHeader> frames;
    bool hostile;
  };
  const Case cases[] = {
      {"open and a record", {opens, {8, FrameKind::record, kFrameMore, 1, 0}}, false},
      {"open of a channel that is not here yet", {{0, FrameKind::open, 0, 9, kRingBytesMin}}, false},
      {"close", {opens, {0, FrameKind::close, 0, 1, 1}}, false},
      {"unknown kind", {{0, static_cast<FrameKind>(9), 0, 1, 0}}, true},
      {"kind 0", {{0, static_cast<FrameKind>(0), 0, 1, 0}}, true},
      {"record before open", {{8, FrameKind::record, 0, 1, 0}}, true},
      {"record for nobody", {{8, FrameKind::record, 0, 5, 0}}, true},
      {"record for whom is not here yet",
       {{0, FrameKind::open, 0, 9, kRingBytesMin}, {8, FrameKind::record, 0, 9, 0}},
       true},
      {"unknown flag", {opens, {8, FrameKind::record, 2, 1, 0}}, true},
      {"a record longer than the ring takes", {opens, {kRingBytesMin / 4, FrameKind::record, 0, 1, 0}}, true},
      {"more records than the ring takes",
       {opens,
        {1000, FrameKind::record, 0, 1, 0},
        {1000, FrameKind::record, 0, 1, 0},
        {1000, FrameKind::record, 0, 1, 0},
        {1000, FrameKind::record, 0, 1, 0},
        {1000, FrameKind::record, 0, 1, 0}},
       true},
      {"open twice", {opens, opens}, true},
      {"open with payload", {{8, FrameKind::open, 0, 1, kRingBytesMin}}, true},
      {"a ring of no size", {{0, FrameKind::open, 0, 1, 0}}, true},
      {"a ring of a wrong size", {{0, FrameKind::open, 0, 1, kRingBytesMin + 8}}, true},
      {"a ring larger than the stream", {{0, FrameKind::open, 0, 1, 2 * kStreamBytesMin}}, true},
      {"room given back that was never taken", {opens, {0, FrameKind::released, 0, 1, 1}}, true},
      {"close without reason", {opens, {0, FrameKind::close, 0, 1, 0}}, true},
      {"close with an unknown reason", {opens, {0, FrameKind::close, 0, 1, kEndReasonMax + 1}}, true},
      {"something after close", {opens, {0, FrameKind::close, 0, 1, 1}, {8, FrameKind::record, 0, 1, 0}}, true},
  };
  for (const Case& test : cases) {
    Session session(makeStream());
    TestChannel channel(kRingBytesMin);
    std::string problem;
    CHECK(session.attach(1, channel.openRelaySide(), kRingBytesMin, problem));
    session.pump();
    for (const FrameHeader& frame : test.frames) land(session, frame);
    if ((session.process() == Turn::hostile) != test.hostile) {
      std::fprintf(stderr, "%s\n", test.what);
      CHECK(false);
    }
  }
  Session session(makeStream());
  land(session, {0xffffffff, FrameKind::record, 0, 1, 0}, 8);
  CHECK(session.process() == Turn::hostile);
}

void testChunksFromAHostilePeer() {
  struct Case {
    ChunkHeader header;
    bool sound;
  };
  Stream probe = makeStream();
  const auto bytes = static_cast<uint32_t>(probe.bytes());
  const Case cases[] = {{{0, 0, 0}, true},          {{16, 0, 0}, true},          {{bytes, 0, 0}, true},
                        {{bytes + 1, 0, 0}, false}, {{0xffffffff, 0, 0}, false}, {{0, 1, 0}, false},
                        {{0, 0, 1}, false},         {{0, 0, UINT64_MAX}, false}};
  for (const Case& test : cases) {
    Stream stream = makeStream();
    PlainReader reader;
    iovec places[2];
    CHECK(reader.places(stream, places) == 1);
    std::memcpy(places[0].iov_base, &test.header, sizeof test.header);
    CHECK(reader.took(stream, sizeof test.header) == (test.sound ? Took::sound : Took::hostile));
  }
}

// --- Sealed chunks

constexpr uint64_t kChunksPerTestKey = 3;

std::unique_ptr<crypto::ChunkCipher> makeCipher(crypto::ChunkCipher::Way way, uint32_t secret) {
  std::string problem;
  std::unique_ptr<crypto::ChunkCipher> cipher =
      crypto::ChunkCipher::create(way, makeToken(secret), problem, kChunksPerTestKey);
  if (!cipher) std::fprintf(stderr, "%s\n", problem.c_str());
  CHECK(cipher);
  return cipher;
}

SealedWriter makeWriter(uint32_t secret) { return SealedWriter(makeCipher(crypto::ChunkCipher::Way::seals, secret)); }
SealedReader makeReader(uint32_t secret) { return SealedReader(makeCipher(crypto::ChunkCipher::Way::opens, secret)); }

void putRecord(Stream& stream, uint32_t number, uint32_t length) {
  CHECK(stream.hasRoom(length));
  fillPattern(stream.payload(), length, number);
  stream.put({length, FrameKind::record, 0, 1, 0});
}

/** The bytes that the writer wants to send next. */
std::vector<std::byte> takeSealed(SealedWriter& writer, Stream& stream, uint64_t processed) {
  CHECK(writer.idle() && writer.begin(stream, processed));
  iovec places[2];
  CHECK(writer.places(stream, places) == 1);
  const auto* from = static_cast<const std::byte*>(places[0].iov_base);
  std::vector<std::byte> bytes(from, from + places[0].iov_len);
  writer.sent(stream, bytes.size());
  return bytes;
}

Took give(SealedReader& reader, Stream& stream, const std::vector<std::byte>& bytes, size_t stepMax = SIZE_MAX) {
  for (size_t done = 0; done < bytes.size();) {
    iovec places[2];
    CHECK(reader.places(stream, places) == 1);
    const size_t here = std::min({bytes.size() - done, places[0].iov_len, stepMax});
    std::memcpy(places[0].iov_base, bytes.data() + done, here);
    if (const Took took = reader.took(stream, here); took != Took::sound) return took;
    done += here;
  }
  return Took::sound;
}

/** Any lengths, in any pieces, over many keys: what comes is what was sent, and none of it is to be seen in between. */
void testSealedChunksCarryTheStream() {
  for (unsigned seed = 0; seed < 5; ++seed) {
    std::mt19937 random(seed);
    Stream from = makeStream();
    Stream to = makeStream();
    SealedWriter writer = makeWriter(1);
    SealedReader reader = makeReader(1);
    Hello hello;
    crypto::Tag tag;
    CHECK(writer.sign(hello, tag) == crypto::kTagBytes && reader.proves(hello, tag));
    for (uint32_t round = 0; round < 50; ++round) {
      const uint32_t length = 32 + static_cast<uint32_t>(random() % 40'000);
      const uint64_t began = from.written();
      putRecord(from, round, length);
      while (from.unsent() > 0) {
        const std::vector<std::byte> bytes = takeSealed(writer, from, 0);
        const std::byte* record = from.out().at(began) + sizeof(FrameHeader);
        CHECK(std::search(bytes.begin(), bytes.end(), record, record + 32) == bytes.end());
        CHECK(give(reader, to, bytes, 1 + random() % 9'000) == Took::sound);
      }
      CHECK(to.landed() == from.written());
      CHECK(isPattern(to.in().at(began) + sizeof(FrameHeader), length, round));
      to.process(to.landed() - to.processed());
      CHECK(from.acknowledge(to.processed()));
    }
  }
}

/** Whatever is changed, left out, repeated, put in another order, or sealed by another is refused, and lands nowhere.
 */
void testForgedChunksAreRefused() {
  Stream from = makeStream();
  SealedWriter writer = makeWriter(1);
  std::vector<std::vector<std::byte>> chunks;
  for (uint32_t number = 0; number < 5; ++number) {
    putRecord(from, number, 40);
    chunks.push_back(takeSealed(writer, from, 0));
  }
  const auto takes = [&](const std::vector<std::vector<std::byte>>& all, Took last, uint32_t secret = 1) {
    Stream to = makeStream();
    SealedReader reader = makeReader(secret);
    uint64_t landed = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      const Took took = give(reader, to, all[i]);
      CHECK(took == (i + 1 == all.size() ? last : Took::sound));
      if (took == Took::sound) landed += frameBytes(40);
      CHECK(to.landed() == landed);
    }
    // After a forgery nothing is taken any more, not even what is right.
    if (last == Took::forged) CHECK(give(reader, to, all[0]) == Took::forged && to.landed() == landed);
  };
  takes(chunks, Took::sound);
  for (size_t byte = 0; byte < chunks[0].size(); ++byte) {
    std::vector<std::byte> changed = chunks[0];
    changed[byte] ^= std::byte{1};
    // A length that grew waits for more, which is not what was sealed.
    if (byte < sizeof(ChunkHeader::length)) changed.resize(kSealedChunkBytesMax);
    takes({changed}, Took::forged);
  }
  takes({chunks[0], chunks[0]}, Took::forged);
  takes({chunks[1]}, Took::forged);
  takes({chunks[0], chunks[2]}, Took::forged);
  // As many keys later the numbers of chunks are the same again.
  takes({chunks[0], chunks[1], chunks[2], chunks[0]}, Took::forged);
  takes({chunks[kChunksPerTestKey]}, Took::forged);
  takes({chunks[0]}, Took::forged, 2);

  Hello hello;
  crypto::Tag tag;
  CHECK(makeWriter(1).sign(hello, tag) && makeReader(1).proves(hello, tag));
  hello.processed += 8;
  CHECK(!makeReader(1).proves(hello, tag));
}

/** What is right, and yet breaks the protocol, is its sender's fault. */
void testSealedChunksFromAHostilePeer() {
  Stream from = makeStream();
  Stream to = makeStream();
  SealedWriter writer = makeWriter(1);
  SealedReader reader = makeReader(1);
  CHECK(give(reader, to, takeSealed(writer, from, 1)) == Took::hostile);
}

/** A network that changes what it carries costs carriers, and no record. */
void testTrafficOverForgeries() {
  std::mt19937 random(7);
  std::mutex mutex;
  const auto budget = [&]() -> size_t {
    const std::lock_guard lock(mutex);
    return 1 + random() % 20'000;
  };
  TwoHosts hosts({.streamBytes = kStreamBytesMin, .spin = 0ns}, budget, true, Harm::changeABit);
  TestChannel channel[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  for (int host = 0; host < 2; ++host) hosts.attach(host, 1, channel[host]);
  const uint32_t lengthMax = channel[0].instance->out.lengthMax();
  std::thread sender([&] { sendAll(*channel[0].instance, 0, 2000); });
  receiveAll(*channel[1].instance, 0, 2000, lengthMax);
  sender.join();
  CHECK(hosts.forgeries() > 3);
}

/** One end encrypts and the other does not: they never meet. */
void testSealedAndPlainDoNotMeet() {
  std::string problem;
  std::atomic<int> news = 0;
  const RelayOptions options = {.streamBytes = kStreamBytesMin};
  std::unique_ptr<Relay> sealed = Relay::start(
      options, [&] { news = 1, news.notify_all(); }, problem);
  std::unique_ptr<Relay> plain = Relay::start(
      options, [] {}, problem);
  const uint32_t connections[2] = {sealed->open(problem), plain->open(problem)};
  const uint16_t port = sealed->listen("127.0.0.1", 0, problem);
  CHECK(sealed->expect(connections[0], makeToken(1), makeToken(2), makeSecrets(1, 0), problem));
  CHECK(plain->dial(connections[1], "127.0.0.1", port, makeToken(1), makeToken(2), std::nullopt, problem));
  news.wait(0);
  const std::vector<Event> events = sealed->takeEvents();
  CHECK(events.size() == 1 && events[0].kind == Event::Kind::dialFailed);
}

/** A local instance that breaks its ring loses its channel, and no other. */
void testCorruptRingClosesItsChannelOnly() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  TestChannel broken[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  TestChannel sound[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  for (int host = 0; host < 2; ++host) {
    hosts.attach(host, 1, broken[host]);
    hosts.attach(host, 2, sound[host]);
  }
  // A header with a flag that has no meaning, where the relay waits for the next record.
  ChannelEnd& end = *broken[0].instance;
  std::byte* place = end.out.loan(8);
  reinterpret_cast<std::atomic<uint32_t>*>(place - shoal::fabric::kWordBytes)->store(8);
  end.bell.strike();
  CHECK(hosts.waitForEnd(0, 1) == EndReason::corrupt);
  CHECK(hosts.waitForEnd(1, 1) == EndReason::corrupt);
  shoal::fabric::Spin spin(0ns);
  CHECK(shoal::fabric::waitForRecord(broken[1].instance->in, broken[1].instance->bell, spin, -1) ==
        shoal::fabric::Wait::peerGone);
  sendAll(*sound[0].instance, 0, 10);
  receiveAll(*sound[1].instance, 0, 10, sound[0].instance->out.lengthMax());
}

void testRecordTooLongForTheOtherSide() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  TestChannel large(4 * kRingBytesMin);
  TestChannel small(kRingBytesMin);
  hosts.attach(0, 1, large);
  hosts.attach(1, 1, small);
  CHECK(large.instance->out.loan(kRingBytesMin / 4) != nullptr);
  large.instance->out.commit(kRingBytesMin / 4);
  if (large.instance->out.publish()) large.instance->bell.strike();
  CHECK(hosts.waitForEnd(0, 1) == EndReason::tooLong);
  CHECK(hosts.waitForEnd(1, 1) == EndReason::tooLong);
}

/**
 * Records that are taken one by one: an instance goes back to its ring's begin meanwhile, the relay at the other end
 * does not, since this one counts on where its records are.
 */
void testRecordsOneByOne() {
  constexpr uint32_t kRingBytes = 4 * kRingBytesMin;
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  TestChannel channel[2] = {TestChannel(kRingBytes), TestChannel(kRingBytes)};
  for (int host = 0; host < 2; ++host) hosts.attach(host, 1, channel[host]);
  const uint32_t lengthMax = channel[0].instance->out.lengthMax();
  for (uint32_t i = 0; i < 1000; ++i) {
    sendAll(*channel[i % 2].instance, i, 1);
    receiveAll(*channel[1 - i % 2].instance, i, 1, lengthMax);
  }
}

/** An instance that ends is noticed at the other host, after what it had sent. */
void testInstanceEnds() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  TestChannel channel[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  for (int host = 0; host < 2; ++host) hosts.attach(host, 1, channel[host]);
  const uint32_t lengthMax = channel[0].instance->out.lengthMax();
  sendAll(*channel[0].instance, 0, 3);
  channel[0].instance.reset();
  receiveAll(*channel[1].instance, 0, 3, lengthMax);
  CHECK(hosts.waitForEnd(0, 1) == EndReason::ended);
  CHECK(hosts.waitForEnd(1, 1) == EndReason::ended);
  shoal::fabric::Spin spin(0ns);
  CHECK(shoal::fabric::waitForRecord(channel[1].instance->in, channel[1].instance->bell, spin, -1) ==
        shoal::fabric::Wait::peerGone);
  // Both sides have forgotten it.
  TestChannel again(kRingBytesMin);
  while (hosts.stats(0).channels != 0 || hosts.stats(1).channels != 0) std::this_thread::yield();
}

void testDetachBeforeAndAfterThePeerAttaches() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  TestChannel channel[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  hosts.attach(0, 1, channel[0]);
  hosts.relays[0]->detach(hosts.connections[0], 1);
  CHECK(hosts.waitForEnd(0, 1) == EndReason::detached);
  while (hosts.stats(1).channels != 1) std::this_thread::yield();
  hosts.attach(1, 1, channel[1]);
  CHECK(hosts.waitForEnd(1, 1) == EndReason::detached);
  while (hosts.stats(0).channels != 0 || hosts.stats(1).channels != 0) std::this_thread::yield();

  TestChannel lonely(kRingBytesMin);
  hosts.attach(0, 2, lonely);
  while (hosts.stats(1).channels != 1) std::this_thread::yield();
  hosts.relays[1]->detach(hosts.connections[1], 2);
  CHECK(hosts.waitForEnd(0, 2) == EndReason::detached);
  while (hosts.stats(0).channels != 0 || hosts.stats(1).channels != 0) std::this_thread::yield();
}

void forgottenAtBoth(TwoHosts& hosts) {
  while (hosts.stats(0).channels != 0 || hosts.stats(1).channels != 0) std::this_thread::yield();
}

/** The agents' link may be faster than the connection: what is detached may be attached at the other host only then. */
void testDetachedBeforeItIsHeardOf() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  const auto attachAndHear = [&](uint32_t number) {
    TestChannel channel(kRingBytesMin);
    hosts.attach(0, number, channel);
    CHECK(hosts.waitForEnd(0, number) == EndReason::detached);
    forgottenAtBoth(hosts);
  };
  hosts.relays[1]->detach(hosts.connections[1], 3);
  attachAndHear(3);
  // The same when its end is there before the other host attaches.
  hosts.relays[1]->detach(hosts.connections[1], 4);
  while (hosts.stats(0).channels != 1) std::this_thread::yield();
  attachAndHear(4);
}

/** With nothing sent nobody is waited for; what was sent is for the peer's side when it comes. */
void testInstanceEndsBeforeThePeerAttaches() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin});
  for (const uint32_t records : {0u, 3u}) {
    const uint32_t number = 4 + records;
    TestChannel channel[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
    hosts.attach(0, number, channel[0]);
    const uint32_t lengthMax = channel[0].instance->out.lengthMax();
    sendAll(*channel[0].instance, 0, records);
    channel[0].instance.reset();
    if (records == 0) CHECK(hosts.waitForEnd(0, number) == EndReason::ended);
    hosts.attach(1, number, channel[1]);
    receiveAll(*channel[1].instance, 0, records, lengthMax);
    if (records > 0) CHECK(hosts.waitForEnd(0, number) == EndReason::ended);
    CHECK(hosts.waitForEnd(1, number) == EndReason::ended);
    forgottenAtBoth(hosts);
  }
}

/** Many channels, both directions at once, over a connection that is cut again and again. */
void testTrafficOverCuts(unsigned seed, bool sealed, uint32_t channels, uint32_t records, size_t budgetMax) {
  std::mt19937 random(seed);
  std::mutex mutex;
  TwoHosts hosts(
      {.streamBytes = kStreamBytesMin, .spin = 0ns},
      [&]() -> size_t {
        const std::lock_guard lock(mutex);
        return budgetMax == 0 ? SIZE_MAX : 1 + random() % budgetMax;
      },
      sealed);
  std::vector<std::unique_ptr<TestChannel>> ends[2];
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < channels; ++i) {
    for (int host = 0; host < 2; ++host) {
      ends[host].push_back(std::make_unique<TestChannel>(kRingBytesMin << i % 3));
      hosts.attach(host, i, *ends[host].back());
    }
    const uint32_t lengthMax = ends[0][i]->instance->out.lengthMax();
    for (int host = 0; host < 2; ++host) {
      ChannelEnd* mine = &*ends[host][i]->instance;
      // One thread for each end: sending and receiving share its bell, thus they take turns.
      threads.emplace_back([mine, lengthMax, records] {
        for (uint32_t first = 0; first < records; first += 20) {
          sendAll(*mine, first, 20);
          receiveAll(*mine, first, 20, lengthMax);
        }
      });
    }
  }
  for (std::thread& each : threads) each.join();
  if (budgetMax != 0) CHECK(hosts.stats(0).carriers > 3);
  for (int host = 0; host < 2; ++host) CHECK(hosts.stats(host).recordsIn == channels * records);
}

/** The carrier is cut after each single one of its first bytes: hello, chunk, frame. */
void testCutAtEachByte(bool sealed) {
  size_t next = 1;
  std::mutex mutex;
  TwoHosts hosts(
      {.streamBytes = kStreamBytesMin, .spin = 0ns},
      [&]() -> size_t {
        const std::lock_guard lock(mutex);
        return next < 300 ? next++ : SIZE_MAX;
      },
      sealed);
  TestChannel channel[2] = {TestChannel(kRingBytesMin), TestChannel(kRingBytesMin)};
  for (int host = 0; host < 2; ++host) hosts.attach(host, 1, channel[host]);
  std::thread sender([&] { sendAll(*channel[0].instance, 0, 100); });
  receiveAll(*channel[1].instance, 0, 100, channel[0].instance->out.lengthMax());
  sender.join();
}

/** Who shows another token, or none, gets nothing and harms nobody. */
void testStrangers() {
  std::string problem;
  std::unique_ptr<Relay> relay = Relay::start(
      {.streamBytes = kStreamBytesMin}, [] {}, problem);
  const uint32_t connection = relay->open(problem);
  const uint16_t port = relay->listen("127.0.0.1", 0, problem);
  CHECK(relay->expect(connection, makeToken(1), makeToken(2), std::nullopt, problem));
  const auto address = SocketAddress::parse("127.0.0.1", port);
  const auto isRefused = [&](const void* bytes, size_t length) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->length) == 0);
    CHECK(send(socket.get(), bytes, length, MSG_NOSIGNAL) == static_cast<ssize_t>(length));
    shutdown(socket.get(), SHUT_WR);
    char answer;
    return recv(socket.get(), &answer, 1, 0) <= 0;
  };
  Hello wrong;
  CHECK(isRefused(&wrong, sizeof wrong));
  CHECK(isRefused(&wrong, 5));
  const Token other = makeToken(2);
  std::copy(other.begin(), other.end(), wrong.token);
  CHECK(isRefused(&wrong, sizeof wrong));
  CHECK(!relay->expect(99, makeToken(1), makeToken(2), std::nullopt, problem) && problem == "no connection 99");
  CHECK(!relay->dial(connection, "localhost", 1, makeToken(1), makeToken(2), std::nullopt, problem));
  // The token is still good for whom it is.
  std::unique_ptr<Relay> peer = Relay::start(
      {.streamBytes = kStreamBytesMin}, [] {}, problem);
  const uint32_t back = peer->open(problem);
  CHECK(peer->dial(back, "127.0.0.1", port, makeToken(1), makeToken(2), std::nullopt, problem));
  ConnectionStats stats;
  while (relay->stats(connection, stats) && stats.carrier != CarrierKind::tcp) std::this_thread::yield();
}

/** Without a carrier for too long, channels end; so they do when the relay of the other host has forgotten all. */
void testUnreachable() {
  TwoHosts hosts({.streamBytes = kStreamBytesMin, .resumeTime = 50ms});
  TestChannel channel(kRingBytesMin);
  hosts.waitForUp(0, 1);
  hosts.attach(0, 1, channel);
  hosts.stopReconnecting();
  hosts.relays[1]->close(hosts.connections[1]);
  CHECK(hosts.waitForEnd(0, 1) == EndReason::unreachable);
  hosts.waitFor(0, [](const Event& event) {
    return event.kind == Event::Kind::connectionEnded && event.reason == EndReason::unreachable;
  });
  shoal::fabric::Spin spin(0ns);
  CHECK(shoal::fabric::waitForRecord(channel.instance->in, channel.instance->bell, spin, -1) ==
        shoal::fabric::Wait::peerGone);
}

}  // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  const size_t descriptors = openDescriptors();
  testHostileRelay();
  testChunksFromAHostilePeer();
  for (unsigned seed = 0; seed < 20; ++seed) testEachRecordOnceInOrder(seed);
  testSealedChunksCarryTheStream();
  testForgedChunksAreRefused();
  testSealedChunksFromAHostilePeer();
  testStrangers();
  testCorruptRingClosesItsChannelOnly();
  testRecordTooLongForTheOtherSide();
  testRecordsOneByOne();
  testInstanceEnds();
  testDetachBeforeAndAfterThePeerAttaches();
  testDetachedBeforeItIsHeardOf();
  testInstanceEndsBeforeThePeerAttaches();
  testUnreachable();
  for (const bool sealed : {false, true}) {
    testCutAtEachByte(sealed);
    testTrafficOverCuts(1, sealed, 4, 1000, 0);
    testTrafficOverCuts(2, sealed, 4, 1000, 20'000);
    testTrafficOverCuts(3, sealed, 16, 240, 100'000);
  }
  testTrafficOverForgeries();
  testSealedAndPlainDoNotMeet();
  CHECK(openDescriptors() == descriptors);
  std::puts("relay_test: all passed");
}
