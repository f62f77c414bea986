/**
 * Measures rings between two processes beside what they are made from: a bare cache line that two processors pass to
 * and fro, eventfd, futex, Unix socket, memcpy. Prints one line of JSON for each measurement and round, all of a round
 * one after the other, so that a busy machine disturbs each alike. Driven by scripts/lib/bench/fabric.ts.
 *
 *     fabric-bench ROUNDS
 */
#include <linux/futex.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "check.h"
#include "fabric/channel.h"
#include "fabric/copy.h"

using namespace shoal::fabric;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr uint32_t kSmall = 64;
constexpr uint32_t kLarge = 64 << 10;
constexpr uint32_t kRingBytes = 4 << 20;
constexpr int kSpinTrips = 20'000;
constexpr int kSleepTrips = 3'000;
constexpr uint32_t kSmallRecords = 2'000'000;
constexpr uint32_t kSmallPackets = 200'000;
constexpr uint32_t kLargeRecords = 20'000;
constexpr uint32_t kBatch = 32;
constexpr auto kNoSpin = 0us;
/** As good as for ever: what is measured is the spin. */
constexpr auto kAlwaysSpin = 10s;

/** Each end on a processor of its own; the measurement is of two that work at the same time. */
void pin(pid_t process, int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  CHECK(sched_setaffinity(process, sizeof set, &set) == 0);
}

/** Runs `there` in a process of its own while `here` runs in this one. */
void together(const std::function<void()>& here, const std::function<void()>& there) {
  std::fflush(stdout);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    there();
    _exit(0);
  }
  pin(child, 1);
  here();
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/** Ticks of the processor's clock where that is cheap to read: a round trip takes little more than a system clock does.
 */
uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<uint64_t>(Clock::now().time_since_epoch().count());
#endif
}

double nanosecondsPerTick() {
  const auto began = Clock::now();
  const uint64_t first = ticks();
  while (Clock::now() - began < 20ms) {
  }
  const std::chrono::duration<double, std::nano> took = Clock::now() - began;
  return took.count() / static_cast<double>(ticks() - first);
}

/** One way of many round trips: half of each. */
void measureLatency(const char* name, int trips, double scale, const std::function<void()>& trip) {
  std::vector<double> oneWay;
  for (int i = 0; i < trips + trips / 10; ++i) {
    const uint64_t began = ticks();
    trip();
    if (i >= trips / 10) oneWay.push_back(static_cast<double>(ticks() - began) * scale / 2);  // after warming up
  }
  std::sort(oneWay.begin(), oneWay.end());
  const auto at = [&](double q) { return oneWay[static_cast<size_t>(q * static_cast<double>(oneWay.size() - 1))]; };
  std::printf("{\"name\":\"%s\",\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", name, at(0.5), at(0.99), at(1));
}

void reportRate(const char* name, double perSecond) {
  std::printf("{\"name\":\"%s\",\"perSecond\":%.0f}\n", name, perSecond);
}

double secondsOf(const std::function<void()>& work) {
  const auto began = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - began).count();
}

struct Ends {
  std::optional<ChannelEnd> side[2];
};

Ends makeEnds(uint32_t ringBytes) {
  ChannelFds fds[2];
  std::string problem;
  Ends ends;
  CHECK(makeChannel(ringBytes, fds, problem));
  for (int i = 0; i < 2; ++i) CHECK(ends.side[i] = ChannelEnd::open(std::move(fds[i]), i, problem));
  return ends;
}

void copyPlain(std::byte* to, const void* from, size_t length) { std::memcpy(to, from, length); }

template <class Copy = decltype(copyPlain)>
void send(ChannelEnd& end, Spin& spin, const void* bytes, uint32_t length, Copy copy = copyPlain) {
  std::byte* place = end.out.loan(length);
  while (place == nullptr) {
    if (end.out.publish()) end.bell.strike();
    CHECK(waitForRoom(end.out, end.bell, spin, length, -1) == Wait::ready);
    place = end.out.loan(length);
  }
  copy(place, bytes, length);
  end.out.commit(length);
}

void flush(ChannelEnd& end) {
  if (end.out.publish()) end.bell.strike();
}

/** One record, copied out. */
void receive(ChannelEnd& end, Spin& spin, void* bytes) {
  Record record;
  while (end.in.next(record) != Take::record) {
    if (end.in.release()) end.bell.strike();
    CHECK(waitForRecord(end.in, end.bell, spin, -1) == Wait::ready);
  }
  std::memcpy(bytes, record.data, record.length);
}

void giveBack(ChannelEnd& end) {
  if (end.in.release()) end.bell.strike();
}

void ringLatency(const char* name, std::chrono::nanoseconds spinMost, int trips, double scale) {
  Ends ends = makeEnds(1 << 16);
  const auto echo = [&](ChannelEnd& end) {
    Spin spin(spinMost);
    char bytes[kSmall];
    for (int i = 0; i < trips + trips / 10; ++i) {
      receive(end, spin, bytes);
      giveBack(end);
      send(end, spin, bytes, kSmall);
      flush(end);
    }
  };
  const auto ask = [&](ChannelEnd& end) {
    Spin spin(spinMost);
    char bytes[kSmall] = {};
    measureLatency(name, trips, scale, [&] {
      send(end, spin, bytes, kSmall);
      flush(end);
      receive(end, spin, bytes);
      giveBack(end);
    });
  };
  together([&] { ask(*ends.side[0]); }, [&] { echo(*ends.side[1]); });
}

struct Lines {
  alignas(kLineBytes) std::atomic<uint32_t> there;
  alignas(kLineBytes) std::atomic<uint32_t> back;
};

Lines* shareLines() {
  void* memory = mmap(nullptr, sizeof(Lines), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return new (memory) Lines{};
}

/** The least that two processors need to tell each other something. */
void bareLatency(double scale) {
  Lines* lines = shareLines();
  const auto await = [](const std::atomic<uint32_t>& word, uint32_t value) {
    while (word.load(std::memory_order_acquire) != value) __builtin_ia32_pause();
  };
  together(
      [&] {
        uint32_t i = 0;
        measureLatency("bare cache line", kSpinTrips, scale, [&] {
          lines->there.store(++i, std::memory_order_release);
          await(lines->back, i);
        });
      },
      [&] {
        for (uint32_t i = 1; i <= kSpinTrips + kSpinTrips / 10; ++i) {
          await(lines->there, i);
          lines->back.store(i, std::memory_order_release);
        }
      });
  munmap(lines, sizeof *lines);
}

/** Both sides do the same: wake the other, sleep until woken; the second sleeps first. */
void sleepingLatency(const char* name, double scale, const std::function<void(int side)>& wake,
                     const std::function<void(int side)>& sleep) {
  together(
      [&] {
        measureLatency(name, kSleepTrips, scale, [&] {
          wake(0);
          sleep(0);
        });
      },
      [&] {
        for (int i = 0; i < kSleepTrips + kSleepTrips / 10; ++i) {
          sleep(1);
          wake(1);
        }
      });
}

void eventfdLatency(double scale) {
  const shoal::UniqueFd bells[2] = {shoal::UniqueFd(eventfd(0, 0)), shoal::UniqueFd(eventfd(0, 0))};
  uint64_t count = 1;
  sleepingLatency(
      "eventfd", scale, [&](int side) { CHECK(write(bells[1 - side].get(), &count, sizeof count) == sizeof count); },
      [&](int side) { CHECK(read(bells[side].get(), &count, sizeof count) == sizeof count); });
}

void futexLatency(double scale) {
  Lines* lines = shareLines();
  const auto word = [lines](int side) { return side == 0 ? &lines->there : &lines->back; };
  const auto futex = [](std::atomic<uint32_t>* address, int operation, uint32_t value) {
    syscall(SYS_futex, address, operation, value, nullptr, nullptr, 0);
  };
  sleepingLatency(
      "futex", scale,
      [&](int side) {
        word(1 - side)->store(1);
        futex(word(1 - side), FUTEX_WAKE, 1);
      },
      [&](int side) {
        while (word(side)->exchange(0) == 0) futex(word(side), FUTEX_WAIT, 0);
      });
  munmap(lines, sizeof *lines);
}

struct Sockets {
  shoal::UniqueFd side[2];
};

Sockets makeSockets() {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  return {{shoal::UniqueFd(ends[0]), shoal::UniqueFd(ends[1])}};
}

void socketLatency(double scale) {
  const Sockets sockets = makeSockets();
  char bytes[kSmall] = {};
  sleepingLatency(
      "unix socket", scale, [&](int side) { CHECK(::send(sockets.side[side].get(), bytes, kSmall, 0) == kSmall); },
      [&](int side) { CHECK(recv(sockets.side[side].get(), bytes, kSmall, 0) == kSmall); });
}

/** Records a second from one process to the other, which looks at all of them and copies none. */
template <class Copy>
double ringRate(uint32_t records, uint32_t length, uint32_t batch, Copy copy) {
  Ends ends = makeEnds(kRingBytes);
  double seconds = 0;
  const auto consume = [&](ChannelEnd& end) {
    Spin spin(kAlwaysSpin);
    uint64_t sum = 0;
    for (uint32_t received = 0; received < records;) {
      Record record;
      if (end.in.next(record) == Take::record) {
        for (uint32_t i = 0; i < record.length; i += kSmall) sum += static_cast<uint64_t>(record.data[i]);
        received += 1;
        if (received % batch == 0) giveBack(end);
      } else {
        giveBack(end);
        CHECK(waitForRecord(end.in, end.bell, spin, -1) == Wait::ready);
      }
    }
    giveBack(end);
    CHECK(sum == uint64_t{records} * (length / kSmall));
  };
  const auto produce = [&](ChannelEnd& end) {
    const std::vector<char> bytes(length, 1);
    Spin spin(kAlwaysSpin);
    seconds = secondsOf([&] {
      for (uint32_t sent = 1; sent <= records; ++sent) {
        send(end, spin, bytes.data(), length, copy);
        if (sent % batch == 0) flush(end);
      }
      flush(end);
      // Over when there is room for all again.
      while (!end.out.drained()) {
      }
    });
  };
  together([&] { produce(*ends.side[0]); }, [&] { consume(*ends.side[1]); });
  return records / seconds;
}

double socketRate() {
  const Sockets sockets = makeSockets();
  double seconds = 0;
  together(
      [&] {
        char bytes[kSmall] = {};
        seconds = secondsOf([&] {
          for (uint32_t i = 0; i < kSmallPackets; ++i) CHECK(::send(sockets.side[0].get(), bytes, kSmall, 0) == kSmall);
          CHECK(recv(sockets.side[0].get(), bytes, kSmall, 0) == 1);
        });
      },
      [&] {
        char bytes[kSmall];
        for (uint32_t i = 0; i < kSmallPackets; ++i) CHECK(recv(sockets.side[1].get(), bytes, kSmall, 0) == kSmall);
        CHECK(::send(sockets.side[1].get(), bytes, 1, 0) == 1);
      });
  return kSmallPackets / seconds;
}

/** Copies of 64 KiB a second, into memory as large as the ring. */
double memcpyRate() {
  const std::vector<char> from(kLarge, 1);
  std::vector<char> to(kRingBytes);
  const double seconds = secondsOf([&] {
    for (uint32_t i = 0; i < kLargeRecords; ++i) {
      std::memcpy(to.data() + i * size_t{kLarge} % kRingBytes, from.data(), kLarge);
      asm volatile("" : : "r"(to.data()) : "memory");
    }
  });
  return kLargeRecords / seconds;
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  const int rounds = count > 1 ? std::atoi(words[1]) : 1;
  pin(0, 0);
  const double scale = nanosecondsPerTick();
  for (int round = 0; round < rounds; ++round) {
    bareLatency(scale);
    ringLatency("ring, spinning", kAlwaysSpin, kSpinTrips, scale);
    ringLatency("ring, sleeping", kNoSpin, kSleepTrips, scale);
    eventfdLatency(scale);
    futexLatency(scale);
    socketLatency(scale);
    reportRate("ring, 64 B", ringRate(kSmallRecords, kSmall, kBatch, copyPlain));
    reportRate("unix socket, 64 B", socketRate());
    reportRate("ring, 64 KiB", ringRate(kLargeRecords, kLarge, 1, copyPlain));
    reportRate("ring, 64 KiB, streamed", ringRate(kLargeRecords, kLarge, 1, copyStreaming));
    reportRate("memcpy, 64 KiB", memcpyRate());
  }
}
