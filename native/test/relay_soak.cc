/**
 * Calls between two hosts while carriers are cut, callees are killed, channels end and the other host's relay is killed
 * as the process it is in: each call is answered once or fails, and none is lost in silence:
 *
 *     relay-soak COUNT SEED                TCP on loopback
 *     relay-soak COUNT SEED RDMA-ADDRESS   as agents do: by verbs on the port that has this address of this machine,
 * and by TCP while there are none. Queues are put into the error state as well, and the port's interface goes down and
 * up, so this is for the virtual rack.
 */
#include <net/if.h>
#include <sys/ioctl.h>

#include <cinttypes>
#include <cstdlib>

#include "far_host.h"

using namespace shoal::relay;
using namespace shoal::test;
using shoal::fabric::Take;
using shoal::fabric::Wait;
using namespace std::chrono_literals;

namespace {

constexpr uint32_t kCallers = 4;
constexpr uint32_t kWindow = 256;
constexpr uint32_t kRingBytes = 64u << 10;
/** Calls before the far relay is killed in mid traffic, and all begins anew. */
constexpr int64_t kCallsPerLife = 500'000;
constexpr int64_t kCallsPerLifeByVerbs = 50'000;
/** Between two faults by TCP, and by verbs, whose queues take milliseconds to connect. */
constexpr std::chrono::microseconds kPauseMax = 20ms;
constexpr std::chrono::microseconds kVerbsPauseMax = 400ms;
/** A call that has neither been answered nor failed by then is lost. Far longer than any time limit of a relay. */
constexpr std::chrono::milliseconds kAnswerTimeMax = 120s;

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

/** The near host's agent: makes a carrier whenever there is none, by TCP and then, with an address for it, by verbs. */
class NearHost {
 public:
  NearHost(const RelayOptions& options, FarHost& far, std::string rdmaAddress)
      : far_(far), rdmaAddress_(std::move(rdmaAddress)) {
    std::string problem;
    relay_ = Relay::start(
        options, [this] { wake(news_); }, problem);
    CHECK(relay_);
    connection_ = relay_->open(problem);
    CHECK(connection_ != 0);
    agent_ = std::thread([this] { run(); });
  }
  ~NearHost() {
    wake(stopping_);
    agent_.join();
    relay_.reset();
  }

  bool attach(uint32_t channel, TestChannel& test) {
    std::string problem;
    return relay_->attach(connection_, channel, std::move(test.relaySide), 1, problem);
  }
  void detach(uint32_t channel) { relay_->detach(connection_, channel); }
  void drop() { relay_->drop(connection_); }
  /** False when there are none. */
  bool breakQueues() {
    ConnectionStats stats;
    if (!relay_->stats(connection_, stats) || stats.carrier != CarrierKind::verbs) return false;
    relay_->breakQueues(connection_);
    return true;
  }
  /** The port is up again. */
  void useVerbs() { wake(verbsAreDue_); }
  /** Whether nothing can be attached any more: no carrier came up in time, or end() was called. */
  bool ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  /** What an agent does that hears that the other one is another process now. */
  void end() {
    wake(ended_);
    relay_->close(connection_);
  }
  /** How often a carrier of that kind came up. */
  uint64_t carriersUp(CarrierKind kind) {
    const std::lock_guard lock(mutex_);
    return carriersUp_[static_cast<size_t>(kind)];
  }

 private:
  void wake(bool& what) {
    {
      const std::lock_guard lock(mutex_);
      what = true;
    }
    changed_.notify_all();
  }

  /** False when the far end has ended. */
  bool connect() {
    std::string problem;
    const Token ours = makeToken(tokens_++);
    const Token theirs = makeToken(tokens_++);
    Order order = {.kind = Order::Kind::expect, .theirs = ours, .ours = theirs};
    order.secrets = makeSecrets(tokens_, 1);
    // The own end may have ended meanwhile, of which there is an event.
    return far_.asked(order) &&
           (relay_->dial(connection_, "127.0.0.1", far_.port(), ours, theirs, makeSecrets(tokens_, 0), problem), true);
  }

  /** When the port is down, or an end has ended meanwhile, all stays as it is. */
  void connectVerbs() {
    std::string problem;
    Order order = {.kind = Order::Kind::joinVerbs};
    if (!relay_->prepareVerbs(connection_, rdmaAddress_, order.verbs, problem)) return;
    const std::optional<Answer> answer = far_.ask(order);
    if (answer && answer->done) relay_->connectVerbs(connection_, answer->verbs, true, problem);
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (bool lost = true; !stopping_;) {
      const bool byVerbs = std::exchange(verbsAreDue_, false) && !lost;
      if (!ended_ && (lost || byVerbs)) {
        lock.unlock();
        bool reached = true;
        if (byVerbs)
          connectVerbs();
        else
          reached = connect();
        lock.lock();
        ended_ |= !reached;
      }
      changed_.wait(lock, [this] { return news_ || verbsAreDue_ || stopping_; });
      news_ = false;
      lost = false;
      for (const Event& each : relay_->takeEvents()) {
        using Kind = Event::Kind;
        const bool isUp = each.kind == Kind::carrierUp;
        carriersUp_[static_cast<size_t>(each.carrier)] += isUp;
        verbsAreDue_ |= isUp && each.carrier == CarrierKind::tcp && !rdmaAddress_.empty();
        lost |= each.kind == Kind::carrierDown || each.kind == Kind::dialFailed;
        ended_ |= each.kind == Kind::connectionEnded;
      }
    }
  }

  FarHost& far_;
  std::string rdmaAddress_;
  std::unique_ptr<Relay> relay_;
  uint32_t connection_ = 0;
  uint32_t tokens_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool news_ = false;
  bool verbsAreDue_ = false;
  bool stopping_ = false;
  bool ended_ = false;
  uint64_t carriersUp_[3] = {};
  std::thread agent_;
};

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
    if (any) continue;
    const Wait waited = shoal::fabric::waitForRecord(end.in, end.bell, spin, kAnswerTimeMax.count());
    CHECK(waited != Wait::timeout);
    if (waited == Wait::peerGone) break;
  }
  answered += got;
  failed += sent - got;
}

/** One caller and its callees, over one channel after another. */
void run(NearHost& near, FarHost& far, uint32_t caller, unsigned seed) {
  std::mt19937 random(seed);
  for (uint32_t channel = firstChannel(caller); left > 0 && !near.ended(); ++channel) {
    TestChannel ends(kRingBytes);
    // Either may not be: it was ended before it had begun.
    if (near.attach(channel, ends) && far.asked({.kind = Order::Kind::serve, .number = channel}))
      call(*ends.instance, random);
    else
      near.detach(channel);
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
  NearHost& near;
  FarHost& far;
  const std::string& rdmaAddress;
  std::mt19937& random;

  void pause() const {
    const auto most = rdmaAddress.empty() ? kPauseMax : kVerbsPauseMax;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<unsigned>(most.count())));
  }
  /** Answers whether there was anything to break. */
  bool strike(Fault fault) const {
    const bool atFar = random() % 2 == 0;
    const auto caller = static_cast<uint32_t>(random() % kCallers);
    const auto channel = firstChannel(caller) + static_cast<uint32_t>(random() % 8);
    switch (fault) {
      case Fault::channelEnded:
        if (atFar) return far.asked({.kind = Order::Kind::detach, .number = channel});
        near.detach(channel);
        return true;
      case Fault::calleeKilled:
        return far.asked({.kind = Order::Kind::killCallee, .number = caller});
      case Fault::queuesBroken:
        return atFar ? far.asked({.kind = Order::Kind::breakQueues}) : near.breakQueues();
      case Fault::portDown: {
        Interface interface(rdmaAddress);
        interface.set(false);
        pause();
        interface.set(true);
        near.useVerbs();
        return true;
      }
      default:
        if (atFar) return far.asked({.kind = Order::Kind::drop});
        near.drop();
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

/** A life of the far host's agent: the carrier is broken, and channels and callees are ended at random; then it is
 * killed. */
void live(const std::string& rdmaAddress, std::mt19937& random) {
  const bool byVerbs = !rdmaAddress.empty();
  const RelayOptions options = {.streamBytes = kStreamBytesMin, .spin = 0ns, .resumeTime = byVerbs ? 10'000ms : 200ms};
  FarHost far({.relay = options, .ringBytes = kRingBytes, .rdmaAddress = rdmaAddress});
  NearHost near(options, far, rdmaAddress);
  const World world = {near, far, rdmaAddress, random};
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < kCallers; ++i) {
    const unsigned seed = static_cast<unsigned>(random());
    callers.emplace_back([&near, &far, i, seed] { run(near, far, i, seed); });
  }
  const int64_t until = left - (byVerbs ? kCallsPerLifeByVerbs : kCallsPerLife);
  // On a starved machine no carrier may come up in time: then the connection has ended by itself, and all begins anew.
  while (left > 0 && left > until && !near.ended()) {
    world.pause();
    const Fault fault = chooseFault(byVerbs, random);
    faults[static_cast<size_t>(fault)] += world.strike(fault);
  }
  if (left > 0) {
    faults[static_cast<size_t>(near.ended() ? Fault::unreachable : Fault::relayKilled)] += 1;
    far.kill();
    near.end();
  }
  for (std::thread& each : callers) each.join();
  for (const CarrierKind kind : {CarrierKind::tcp, CarrierKind::verbs})
    carriersUp[static_cast<size_t>(kind)] += near.carriersUp(kind);
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
