/**
 * Calls between two hosts while carriers are cut, callees are killed, channels end and a relay dies: each call is
 * answered once or fails, and none is lost in silence:
 *
 *     relay-soak COUNT SEED                TCP on loopback
 *     relay-soak COUNT SEED RDMA-ADDRESS   as agents do: by verbs on the port that has this address of this machine,
 * and by TCP while there are none. Queues are put into the error state as well, and the port's interface goes down and
 * up, so this is for the virtual rack.
 */
#include <linux/close_range.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

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
/** Between two faults by TCP, and by verbs, whose queues take milliseconds to connect. */
constexpr std::chrono::microseconds kPauseMax = 20ms;
constexpr std::chrono::microseconds kVerbsPauseMax = 400ms;

std::atomic<uint64_t> answered = 0;
std::atomic<uint64_t> failed = 0;
/** By fault, in the order of their names. */
enum class Fault { cut, channelEnded, calleeKilled, queuesBroken, portDown, relayKilled, unreachable };
constexpr const char* kFaultNames[] = {"carriers cut", "channels ended", "callees killed",     "queues broken",
                                       "ports down",   "relays killed",  "without any carrier"};
uint64_t faults[std::size(kFaultNames)] = {};
uint64_t carriersUp[3] = {};
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

/** A process that serves one channel after another, each time another process: it can be killed like any instance. */
class Callee {
 public:
  /** The parent keeps nothing of the channel. */
  void start(std::optional<ChannelEnd> end) {
    const std::lock_guard lock(mutex_);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ > 0) return;
    // It goes with its parent, and keeps no descriptor by which others would notice an end too late.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto [low, high] = std::minmax({end->bell.strikeFd(), end->bell.listenFd()});
    CHECK(closeRange(3, low - 1) && closeRange(low + 1, high - 1) && closeRange(high + 1, INT_MAX));
    serve(*end);
    _exit(0);
  }
  bool kill() {
    const std::lock_guard lock(mutex_);
    return pid_ > 0 && ::kill(pid_, SIGKILL) == 0;
  }
  void join() {
    // Not taken from the table of processes before nobody can kill it any more.
    siginfo_t info;
    CHECK(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) == 0);
    const std::lock_guard lock(mutex_);
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    pid_ = 0;
  }

 private:
  static bool closeRange(int first, int last) {
    return first > last || close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0) == 0;
  }

  std::mutex mutex_;
  pid_t pid_ = 0;
};

Callee callees[kCallers];

/** One caller and its callee, over one channel after another. */
void run(TwoHosts& hosts, int caller, const std::atomic<bool>& dying, unsigned seed) {
  std::mt19937 random(seed);
  for (uint32_t number = static_cast<uint32_t>(caller) << 20; left > 0 && !dying && !hosts.ended(); ++number) {
    TestChannel ends[2] = {TestChannel(kRingBytes), TestChannel(kRingBytes)};
    std::string problem;
    bool attached = true;
    for (int host = 0; host < 2; ++host)
      attached =
          attached && hosts.relays[host] &&
          hosts.relays[host]->attach(hosts.connections[host], number, std::move(ends[host].relaySide), 1, problem);
    if (!attached) continue;  // it was ended before it had begun
    callees[caller].start(std::move(ends[1].instance));
    call(*ends[0].instance, random);
    ends[0].instance.reset();
    callees[caller].join();
  }
}

/** The interface of a port, which can be taken down. */
class Interface {
 public:
  explicit Interface(const std::string& rdmaAddress) {
    std::string problem;
    const std::optional<verbs::PortAddress> port = verbs::findPort(rdmaAddress, problem);
    if (!port) std::fprintf(stderr, "relay-soak: %s\n", problem.c_str()), std::exit(2);
    port->interface.copy(request_.ifr_name, IFNAMSIZ - 1);
  }
  void set(bool up) {
    const shoal::UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(ioctl(socket.get(), SIOCGIFFLAGS, &request_) == 0);
    request_.ifr_flags = static_cast<short>(up ? request_.ifr_flags | IFF_UP : request_.ifr_flags & ~IFF_UP);
    CHECK(ioctl(socket.get(), SIOCSIFFLAGS, &request_) == 0);
  }

 private:
  ifreq request_ = {};
};

/** What there is to break. */
struct World {
  TwoHosts& hosts;
  const std::string& rdmaAddress;
  std::mt19937& random;

  void pause() const {
    const auto most = rdmaAddress.empty() ? kPauseMax : kVerbsPauseMax;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<unsigned>(most.count())));
  }
  /** Answers whether there was anything to break. */
  bool strike(Fault fault) const {
    const size_t host = random() % 2;
    const uint32_t connection = hosts.connections[host];
    const auto caller = static_cast<uint32_t>(random() % kCallers);
    switch (fault) {
      case Fault::channelEnded:
        hosts.relays[host]->detach(connection, caller << 20 | static_cast<uint32_t>(random() % 8));
        return true;
      case Fault::calleeKilled:
        return callees[caller].kill();
      case Fault::queuesBroken:
        if (hosts.stats(static_cast<int>(host)).carrier != CarrierKind::verbs) return false;
        hosts.relays[host]->breakQueues(connection);
        return true;
      case Fault::portDown: {
        Interface interface(rdmaAddress);
        interface.set(false);
        pause();
        interface.set(true);
        hosts.useVerbs(rdmaAddress);
        return true;
      }
      default:
        hosts.relays[host]->drop(connection);
        return true;
    }
  }
};

Fault chooseFault(bool verbs, std::mt19937& random) {
  const auto dice = random() % 16;
  if (dice == 0) return Fault::channelEnded;
  if (dice == 1) return Fault::calleeKilled;
  if (verbs && dice < 8) return dice < 6 ? Fault::queuesBroken : Fault::portDown;
  return Fault::cut;
}

/** A connection's life: its carrier is broken, and channels and callees are ended at random; then a relay dies. */
void live(const std::string& rdmaAddress, std::mt19937& random) {
  const bool byVerbs = !rdmaAddress.empty();
  TwoHosts hosts({.streamBytes = kStreamBytesMin, .spin = 0ns, .resumeTime = byVerbs ? 10'000ms : 200ms});
  if (byVerbs) hosts.useVerbs(rdmaAddress);
  const World world = {hosts, rdmaAddress, random};
  std::atomic<bool> dying = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    const unsigned seed = static_cast<unsigned>(random());
    callers.emplace_back([&hosts, &dying, i, seed] { run(hosts, i, dying, seed); });
  }
  const int64_t until = left - static_cast<int64_t>(kCallsPerLife);
  // On a starved machine no carrier may come up in time: then the connection has ended by itself, and all begins anew.
  while (left > 0 && left > until && !hosts.ended()) {
    world.pause();
    const Fault fault = chooseFault(byVerbs, random);
    faults[static_cast<size_t>(fault)] += world.strike(fault);
  }
  dying = true;
  // As when an agent is killed: the other side finds nobody any more.
  hosts.stopReconnecting();
  if (left > 0) {
    faults[static_cast<size_t>(hosts.ended() ? Fault::unreachable : Fault::relayKilled)] += 1;
    hosts.relays[random() % 2]->close(hosts.connections[0]);
  }
  for (std::thread& each : callers) each.join();
  for (const CarrierKind kind : {CarrierKind::tcp, CarrierKind::verbs})
    carriersUp[static_cast<size_t>(kind)] += hosts.carriersUp(kind);
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  if (count != 3 && count != 4) {
    std::fprintf(stderr, "usage: relay-soak COUNT SEED [RDMA-ADDRESS]\n");
    return 2;
  }
  const int64_t calls = std::strtoll(words[1], nullptr, 10);
  const std::string rdmaAddress = count == 4 ? words[3] : "";
  left = calls;
  std::mt19937 random(static_cast<unsigned>(std::strtoul(words[2], nullptr, 10)));
  while (left > 0) live(rdmaAddress, random);
  std::printf("relay-soak: %" PRIu64 " calls answered once, %" PRIu64 " failed; carriers: %" PRIu64 " TCP, %" PRIu64
              " verbs\nrelay-soak:",
              answered.load(), failed.load(), carriersUp[1], carriersUp[2]);
  for (size_t i = 0; i < std::size(kFaultNames); ++i)
    std::printf("%s %" PRIu64 " %s", i == 0 ? "" : ",", faults[i], kFaultNames[i]);
  std::printf("\n");
  CHECK(answered + failed == static_cast<uint64_t>(calls));
  CHECK(rdmaAddress.empty() || carriersUp[2] > 0);
}
