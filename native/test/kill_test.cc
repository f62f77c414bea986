/**
 * Kills one end of a channel (SIGKILL) and checks the other: every record it gets is whole and in order, it learns that
 * its peer is gone, and when it drops the channel nothing is left. First at each single instruction of sending and of
 * receiving one record, then COUNT times (default 300) at random moments in mid traffic.
 *
 *     kill-test [COUNT]
 */
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "check.h"
#include "descriptors.h"
#include "fabric/channel.h"
#include "pattern.h"

using namespace shoal::fabric;
using shoal::test::fillPattern;
using shoal::test::isPattern;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr uint32_t kRingBytes = kRingBytesMin;
constexpr uint32_t kStepLength = 16;
constexpr int kDefaultCount = 300;
/** The mark of the survivor's notice is 10 ms; machines that are busy get more here, and the longest is printed. */
constexpr auto kNoticeMax = 2s;

struct Fds {
  ChannelFds side[2];
};

Fds makeFds() {
  Fds fds;
  std::string problem;
  CHECK(makeChannel(kRingBytes, fds.side, problem));
  return fds;
}

ChannelEnd open(Fds& fds, int side) {
  std::string problem;
  fds.side[1 - side] = {};
  std::optional<ChannelEnd> end = ChannelEnd::open(std::move(fds.side[side]), side, problem);
  CHECK(end);
  return std::move(*end);
}

uint32_t lengthOf(uint32_t number) { return number % 7 == 0 ? number % 1000 : number % 64; }

bool send(ChannelEnd& end, uint32_t number, uint32_t length) {
  std::byte* place = end.out.loan(length);
  if (place == nullptr) return false;
  fillPattern(place, length, number);
  end.out.commit(length);
  if (end.out.publish()) end.bell.strike();
  return true;
}

/** Sends until the peer is gone, and kills it once `kill` says so. */
template <class Kill>
void produce(ChannelEnd& end, Spin& spin, Kill kill) {
  for (uint32_t number = 0;; ++number) {
    kill(number);
    while (!send(end, number, lengthOf(number))) {
      CHECK(end.out.corruption() == Corruption::none);
      if (waitForRoom(end.out, end.bell, spin, lengthOf(number), -1) == Wait::peerGone) return;
    }
  }
}

template <class Kill>
void consume(ChannelEnd& end, Spin& spin, Kill kill) {
  uint32_t number = 0;
  while (true) {
    Record record;
    switch (end.in.next(record)) {
      case Take::record:
        CHECK(record.length == lengthOf(number) && isPattern(record.data, record.length, number));
        number += 1;
        kill(number);
        if (number % 4 != 0) break;
        [[fallthrough]];
      case Take::empty:
        if (end.in.release()) end.bell.strike();
        if (waitForRecord(end.in, end.bell, spin, -1) == Wait::peerGone) return;
        break;
      case Take::corrupt:
        CHECK(!"a corrupt record");
    }
  }
}

void reap(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/** One end of a channel is killed in mid traffic. Answers how long the other took to notice. */
Clock::duration killInTraffic(std::mt19937& random) {
  const bool childProduces = random() % 2 == 0;
  const auto spinMost = random() % 2 == 0 ? 0us : 20us;
  const uint32_t killAt = 1 + random() % 2000;
  Fds fds = makeFds();
  const pid_t child = fork();
  CHECK(child >= 0);
  ChannelEnd end = open(fds, child == 0 ? 1 : 0);
  Spin spin(spinMost);
  Clock::time_point killedAt;
  const auto kill = [&](uint32_t number) {
    if (child == 0 || number != killAt) return;
    killedAt = Clock::now();
    ::kill(child, SIGKILL);
  };
  if (childProduces == (child == 0)) {
    produce(end, spin, kill);
  } else {
    consume(end, spin, kill);
  }
  if (child == 0) _exit(1);
  const Clock::duration noticed = Clock::now() - killedAt;
  reap(child);
  return noticed;
}

/** What is left of a child that was killed in the middle of something, seen from the other end. */
struct Stopped {
  ChannelEnd survivor;
  /** False when it was killed after it had done all. */
  bool inTheMiddle;
};

/** Sends the child one record, lets it do `act` for so many instructions, and kills it. */
template <class Act>
Stopped killAfterInstructions(int count, Act act) {
  Fds fds = makeFds();
  const pid_t child = fork();
  CHECK(child >= 0);
  ChannelEnd end = open(fds, child == 0 ? 1 : 0);
  if (child == 0) {
    CHECK(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0);
    raise(SIGSTOP);
    act(end);
    raise(SIGSTOP);
    _exit(1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  CHECK(send(end, 0, kStepLength));
  bool done = false;
  for (int i = 0; i < count && !done; ++i) {
    CHECK(ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    done = WSTOPSIG(status) == SIGSTOP;
  }
  kill(child, SIGKILL);
  reap(child);
  return {std::move(end), !done};
}

/** Calls `check` with what is left after one instruction of `act`, after two, and so on; answers how many there are. */
template <class Act, class Check>
int killAtEachInstruction(Act act, Check check) {
  for (int count = 0;; ++count) {
    Stopped left = killAfterInstructions(count, act);
    check(left);
    if (!left.inTheMiddle) return count;
  }
}

/** The survivor gets the record whole, or none. */
int killWhileSending() {
  return killAtEachInstruction([](ChannelEnd& child) { send(child, 7, kStepLength); },
                               [](Stopped& left) {
                                 ChannelEnd& end = left.survivor;
                                 Spin spin(0us);
                                 Record record;
                                 const Take taken = end.in.next(record);
                                 CHECK(taken == Take::record || (taken == Take::empty && left.inTheMiddle));
                                 if (taken == Take::record) {
                                   CHECK(record.length == kStepLength && isPattern(record.data, kStepLength, 7));
                                   CHECK(end.in.next(record) == Take::empty);
                                 }
                                 CHECK(!end.in.release());
                                 CHECK(waitForRecord(end.in, end.bell, spin, -1) == Wait::peerGone);
                               });
}

/** The survivor has the room of the record back, or not yet; it goes on until the ring is full and knows it is alone.
 */
int killWhileReceiving() {
  return killAtEachInstruction(
      [](ChannelEnd& child) {
        Record record;
        if (child.in.next(record) == Take::record && child.in.release()) child.bell.strike();
        if (child.in.announceSleep()) child.in.cancelSleep();
      },
      [](Stopped& left) {
        ChannelEnd& end = left.survivor;
        Spin spin(0us);
        CHECK(end.out.drained() || left.inTheMiddle);
        while (send(end, 0, kStepLength)) {
        }
        CHECK(waitForRoom(end.out, end.bell, spin, kStepLength, -1) == Wait::peerGone);
        CHECK(end.out.corruption() == Corruption::none);
      });
}

bool mapsAChannel() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("shoal-channel") != std::string::npos) return true;
  return false;
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  const int kills = count > 1 ? std::atoi(words[1]) : kDefaultCount;
  const size_t descriptors = openDescriptors();
  std::printf("kill_test: at each of %d instructions of sending\n", killWhileSending());
  std::printf("kill_test: at each of %d instructions of receiving\n", killWhileReceiving());
  std::mt19937 random(1);
  Clock::duration longest{0};
  for (int i = 0; i < kills; ++i) longest = std::max(longest, killInTraffic(random));
  CHECK(longest < kNoticeMax);
  CHECK(openDescriptors() == descriptors);
  CHECK(!mapsAChannel());
  std::printf("kill_test: %d kills in mid traffic, noticed within %.2f ms: all passed\n", kills,
              std::chrono::duration<double, std::milli>(longest).count());
}
