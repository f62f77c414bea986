/**
 * Calls between two hosts while carriers are cut, channels end and a relay dies: each call is answered once or fails,
 * and none is lost in silence: relay-soak COUNT SEED. TCP on loopback.
 */
#include <cinttypes>
#include <csignal>
#include <cstdlib>

#include "relay_world.h"

using namespace shoal::relay;
using namespace shoal::test;
using shoal::fabric::Take;
using shoal::fabric::Wait;
using namespace std::chrono_literals;

namespace {

constexpr int kCallers = 4;
constexpr uint32_t kWindow = 64;
constexpr uint32_t kRingBytes = 16u << 10;
/** Calls before a relay is killed in mid traffic, and all begins anew. */
constexpr uint64_t kCallsPerLife = 500'000;

std::atomic<uint64_t> answered = 0;
std::atomic<uint64_t> failed = 0;
std::atomic<uint64_t> cuts = 0;
std::atomic<uint64_t> lives = 0;
/** What no call has taken yet. */
std::atomic<int64_t> left = 0;

bool takeCall() { return left.fetch_sub(1) > 0; }

/** Answers what comes until its channel ends: the same number, with a different payload length. */
void serve(ChannelEnd& end) {
  shoal::fabric::Spin spin(0ns);
  for (;;) {
    shoal::fabric::Record record;
    const Take taken = end.in.next(record);
    CHECK(taken != Take::corrupt);
    if (taken == Take::record) {
      uint64_t call = 0;
      CHECK(record.length >= sizeof call);
      std::memcpy(&call, record.data, sizeof call);
      std::byte* place = nullptr;
      while ((place = end.out.loan(sizeof call)) == nullptr) {
        if (end.out.publish()) end.bell.strike();
        if (shoal::fabric::waitForRoom(end.out, end.bell, spin, sizeof call, -1) == Wait::peerGone) return;
      }
      std::memcpy(place, &call, sizeof call);
      end.out.commit(sizeof call);
      continue;
    }
    if (end.out.publish()) end.bell.strike();
    if (end.in.release()) end.bell.strike();
    if (shoal::fabric::waitForRecord(end.in, end.bell, spin, -1) == Wait::peerGone) return;
  }
}

/** Calls until there are none left or the channel ends. What was not answered then has failed. */
void call(ChannelEnd& end, std::mt19937& random) {
  shoal::fabric::Spin spin(0ns);
  uint64_t sent = 0;
  uint64_t got = 0;
  bool more = true;
  for (;;) {
    while (more && sent - got < kWindow) {
      const uint32_t length = static_cast<uint32_t>(sizeof sent + random() % 200);
      std::byte* place = end.out.loan(length);
      if (place == nullptr) break;
      more = takeCall();
      if (!more) break;
      std::memcpy(place, &sent, sizeof sent);
      end.out.commit(length);
      sent += 1;
    }
    if (end.out.publish()) end.bell.strike();
    if (!more && got == sent) break;
    shoal::fabric::Record record;
    bool any = false;
    for (Take taken; (taken = end.in.next(record)) != Take::empty;) {
      CHECK(taken == Take::record);
      uint64_t answer = 0;
      CHECK(record.length == sizeof answer);
      std::memcpy(&answer, record.data, sizeof answer);
      CHECK(answer == got && got < sent);  // in order: none twice, none left out
      got += 1;
      any = true;
    }
    if (end.in.release()) end.bell.strike();
    if (!any && shoal::fabric::waitForRecord(end.in, end.bell, spin, -1) == Wait::peerGone) break;
  }
  answered += got;
  failed += sent - got;
}

/** One caller and its callee, over one channel after another. */
void run(TwoHosts& hosts, int caller, const std::atomic<bool>& dying, unsigned seed) {
  std::mt19937 random(seed);
  for (uint32_t number = static_cast<uint32_t>(caller) << 20; left > 0 && !dying; ++number) {
    TestChannel ends[2] = {TestChannel(kRingBytes), TestChannel(kRingBytes)};
    std::string problem;
    bool attached = true;
    for (int host = 0; host < 2; ++host)
      attached =
          attached && hosts.relays[host] &&
          hosts.relays[host]->attach(hosts.connections[host], number, std::move(ends[host].relaySide), 1, problem);
    if (!attached) continue;  // it was ended before it had begun
    std::thread callee([&] { serve(*ends[1].instance); });
    call(*ends[0].instance, random);
    ends[0].instance.reset();
    callee.join();
  }
}

/** A connection's life: its carrier is cut and channels are ended at random; then a relay dies. */
void live(std::mt19937& random) {
  lives += 1;
  TwoHosts hosts({.streamBytes = kStreamBytesMin, .spin = 0ns, .resumeTime = 200ms});
  std::atomic<bool> dying = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    const unsigned seed = static_cast<unsigned>(random());
    callers.emplace_back([&hosts, &dying, i, seed] { run(hosts, i, dying, seed); });
  }
  const int64_t until = left - static_cast<int64_t>(kCallsPerLife);
  while (left > 0 && left > until) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    const size_t host = random() % 2;
    if (random() % 16 == 0) {
      const auto number = static_cast<uint32_t>(random() % kCallers << 20 | random() % 8);
      hosts.relays[host]->detach(hosts.connections[host], number);
    } else {
      hosts.relays[host]->drop(hosts.connections[host]);
      cuts += 1;
    }
  }
  dying = true;
  // As when an agent is killed: the other side finds nobody any more.
  hosts.stopReconnecting();
  if (left > 0) hosts.relays[random() % 2]->close(hosts.connections[0]);
  for (std::thread& each : callers) each.join();
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  if (count != 3) {
    std::fprintf(stderr, "usage: relay-soak COUNT SEED\n");
    return 2;
  }
  const int64_t calls = std::strtoll(words[1], nullptr, 10);
  left = calls;
  std::mt19937 random(static_cast<unsigned>(std::strtoul(words[2], nullptr, 10)));
  while (left > 0) live(random);
  std::printf("relay-soak: %" PRIu64 " calls answered once, %" PRIu64 " failed; %" PRIu64 " cuts, %" PRIu64
              " relays killed\n",
              answered.load(), failed.load(), cuts.load(), lives.load() - 1);
  CHECK(answered + failed == static_cast<uint64_t>(calls));
}
