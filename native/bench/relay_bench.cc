/**
 * Latency and bandwidth of a channel between two hosts, through both relays, beside a bare socket:
 *
 *     relay-bench serve ADDRESS PORT            on one host; serves one run after another until killed
 *     relay-bench run ADDRESS PEER PORT CARRIER MODE SIZE COUNT SPIN_US      on the other
 *
 * CARRIER: tcp, sealed (TCP, encrypted), verbs, socket (no relay: send and recv), or bare-verbs (the relay's carrier
 * alone, driven by this thread without rings and relays, as perftest does). MODE: lat (half a round trip,
 * microseconds) or bw (MB/s, one direction). The last line of `run` is JSON. Both instances and both relays spin for
 * SPIN_US before they sleep; with bare-verbs 0 is that who receives sleeps until something comes, all else that it
 * polls.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "relay/relay.h"

using namespace shoal;
using namespace shoal::relay;
using fabric::ChannelEnd;

namespace {

constexpr uint32_t kRingBytes = 1u << 20;
constexpr uint32_t kChannel = 1;
constexpr uint32_t kWarmUp = 20;

enum class Way : uint32_t { tcp, sealed, verbs, socket, bareVerbs };
enum class Mode : uint32_t { latency, bandwidth };

/** What the two programs tell each other before a run, in place of agents. */
struct Setup {
  Way way;
  Mode mode;
  uint32_t size;
  uint32_t count;
  uint32_t spinUs;
  uint32_t relayPort;
  verbs::Parameters verbs;
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "relay-bench: %s\n", why.c_str());
  std::exit(1);
}

void sendAll(int socket, const void* bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    const ssize_t sent = send(socket, static_cast<const char*>(bytes) + done, length - done, MSG_NOSIGNAL);
    if (sent <= 0) die("the other program is gone");
    done += static_cast<size_t>(sent);
  }
}

void receiveAll(int socket, void* bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    const ssize_t got = recv(socket, static_cast<char*>(bytes) + done, length - done, 0);
    if (got <= 0) die("the other program is gone");
    done += static_cast<size_t>(got);
  }
}

void setNoDelay(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

Token tokenOf(uint8_t value) {
  Token token;
  token.fill(value);
  return token;
}

/** One host's relay with one channel, and the instance's end of it. */
class Host {
 public:
  Host(const std::string& address, const Setup& setup) : spin_(std::chrono::microseconds(setup.spinUs)) {
    std::string problem;
    // A benchmark has nothing to hide: one secret for both directions, which a cluster never has.
    if (setup.way == Way::sealed) secrets_ = CarrierSecrets{tokenOf(3), tokenOf(3)};
    RelayOptions options;
    options.spin = std::chrono::microseconds(setup.spinUs);
    relay_ = Relay::start(
        options, [] {}, problem);
    connection_ = relay_ ? relay_->open(problem) : 0;
    if (connection_ == 0) die(problem);
    fabric::ChannelFds fds[2];
    if (!fabric::makeChannel(kRingBytes, fds, problem)) die(problem);
    end_ = ChannelEnd::open(std::move(fds[0]), 0, problem);
    if (!end_ || !relay_->attach(connection_, kChannel, std::move(fds[1]), 1, problem)) die(problem);
    if (setup.way == Way::verbs && !relay_->prepareVerbs(connection_, address, ours.verbs, problem)) die(problem);
  }

  void expect(const std::string& address) {
    std::string problem;
    ours.relayPort = relay_->listen(address, 0, problem);
    if (ours.relayPort == 0 || !relay_->expect(connection_, tokenOf(1), tokenOf(2), secrets_, problem)) die(problem);
  }
  void dial(const std::string& peer, const Setup& theirs) {
    std::string problem;
    const auto port = static_cast<uint16_t>(theirs.relayPort);
    if (!relay_->dial(connection_, peer, port, tokenOf(1), tokenOf(2), secrets_, problem)) die(problem);
  }
  void connectVerbs(const Setup& theirs, bool first) {
    std::string problem;
    if (!relay_->connectVerbs(connection_, theirs.verbs, first, problem)) die(problem);
  }

  void send(const std::byte* bytes, uint32_t length) {
    std::byte* place = nullptr;
    while ((place = end_->out.loan(length)) == nullptr) {
      publish();
      wait(fabric::waitForRoom(end_->out, end_->bell, spin_, length, kPatienceMs));
    }
    std::memcpy(place, bytes, length);
    end_->out.commit(length);
  }
  void publish() {
    if (end_->out.publish()) end_->bell.strike();
  }
  /** The next record, which is good until the next call. */
  fabric::Record receive() {
    fabric::Record record;
    fabric::Take taken = end_->in.next(record);
    if (taken == fabric::Take::empty) {
      release();
      wait(fabric::waitForRecord(end_->in, end_->bell, spin_, kPatienceMs));
      taken = end_->in.next(record);
    }
    if (taken != fabric::Take::record) die("the ring is corrupt");
    return record;
  }
  void release() {
    if (end_->in.release()) end_->bell.strike();
  }

  Setup ours = {};

 private:
  static constexpr int kPatienceMs = 60'000;

  void wait(fabric::Wait result) {
    if (result == fabric::Wait::ready) return;
    for (const Event& each : relay_->takeEvents()) std::fprintf(stderr, "%s\n", each.text.c_str());
    die(result == fabric::Wait::peerGone ? "the channel ended" : "nothing came for a minute");
  }

  fabric::Spin spin_;
  std::optional<CarrierSecrets> secrets_;
  std::unique_ptr<Relay> relay_;
  uint32_t connection_ = 0;
  std::optional<ChannelEnd> end_;
};

/** The carrier that a relay has, and the stream under it. */
class BareVerbs {
 public:
  BareVerbs(const std::string& address, bool sleeps) : sleeps_(sleeps) {
    std::string problem;
    std::optional<MirroredBuffer> out = MirroredBuffer::create(kStreamBytesDefault, problem);
    std::optional<MirroredBuffer> in = MirroredBuffer::create(kStreamBytesDefault, problem);
    const std::optional<verbs::PortAddress> port = verbs::findPort(address, problem);
    if (!out || !in || !port) die(problem);
    stream_.emplace(std::move(*out), std::move(*in));
    std::shared_ptr<verbs::Memory> memory = verbs::Memory::create(*port, *stream_, problem);
    if (memory) carrier_ = verbs::VerbsCarrier::create(std::move(memory), problem);
    if (!carrier_) die(problem);
    ours.verbs = carrier_->parameters();
  }

  void connect(const Setup& theirs, bool first) {
    std::string problem;
    if (!carrier_->connect(theirs.verbs, first, problem)) die(problem);
  }
  void greet() {
    while (!carrier_->reached())
      if (!carrier_->problem().empty()) die(carrier_->problem());
    stream_->restart();
    while (!carrier_->ready()) turn();
  }

  void send(const std::byte* bytes, uint32_t length) {
    while (!stream_->hasRoom(length)) turn();
    std::memcpy(stream_->payload(), bytes, length);
    stream_->put({length, FrameKind::record, 0, kChannel, 0});
    turn();
  }
  /** Waits for a frame of that length and copies it out, as a relay does into the ring. */
  void receive(std::byte* bytes, uint32_t length) {
    while (!hasFrame(length)) {
      turn();
      if (sleeps_ && !hasFrame(length)) sleep();
    }
    std::memcpy(bytes, stream_->in().at(stream_->processed()) + sizeof(FrameHeader), length);
    stream_->process(frameBytes(length));
  }

  Setup ours = {};

 private:
  void turn() {
    const Clock::time_point now = Clock::now();
    const Turn received = carrier_->receive(*stream_, now);
    if (received == Turn::hostile) die("the peer broke the protocol");
    if (received == Turn::failed || carrier_->send(*stream_, now) == Turn::failed) die(carrier_->problem());
  }
  bool hasFrame(uint32_t length) const { return stream_->landed() - stream_->processed() >= frameBytes(length); }
  void sleep() {
    if (!carrier_->announceSleep()) return;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(carrier_->deadline() - Clock::now());
    pollfd news = {carrier_->waitFd(), POLLIN, 0};
    poll(&news, 1, std::max<int>(0, static_cast<int>(left.count())));
  }

  const bool sleeps_;
  std::optional<Stream> stream_;
  std::unique_ptr<verbs::VerbsCarrier> carrier_;
};

void report(const Setup& setup, std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double q) { return samples[static_cast<size_t>(q * static_cast<double>(samples.size() - 1))]; };
  std::printf("{\"size\":%u,\"count\":%u,\"min\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n", setup.size,
              setup.count, at(0), at(0.5), at(0.99), at(1));
}

/** Runs `trip` and answers what half of each took, in microseconds. */
template <class Trip>
std::vector<double> timeTrips(uint32_t count, Trip trip) {
  std::vector<double> halves;
  for (uint32_t i = 0; i < count + kWarmUp; ++i) {
    const Clock::time_point began = Clock::now();
    trip();
    if (i >= kWarmUp) halves.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count() / 2);
  }
  return halves;
}

/** Megabytes (10^6 bytes) each second. */
template <class Transfer>
std::vector<double> timeTransfer(const Setup& setup, Transfer transfer) {
  const Clock::time_point began = Clock::now();
  transfer();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  return {static_cast<double>(setup.size) * setup.count / seconds / 1e6};
}

void serveChannel(Host& host, const Setup& setup) {
  const uint32_t records = setup.mode == Mode::latency ? setup.count + kWarmUp : setup.count;
  for (uint32_t i = 0; i < records; ++i) {
    const fabric::Record record = host.receive();
    if (setup.mode == Mode::latency) {
      host.send(record.data, record.length);
      host.publish();
      host.release();
    } else if (i % 4 == 3) {
      host.release();
    }
  }
  host.release();
  if (setup.mode == Mode::bandwidth) {
    const std::byte done = {};
    host.send(&done, 1);
    host.publish();
  }
}

std::vector<double> runChannel(Host& host, const Setup& setup) {
  const std::vector<std::byte> bytes(setup.size);
  if (setup.mode == Mode::latency) {
    return timeTrips(setup.count, [&] {
      host.send(bytes.data(), setup.size);
      host.publish();
      host.receive();
      host.release();
    });
  }
  return timeTransfer(setup, [&] {
    for (uint32_t i = 0; i < setup.count; ++i) {
      host.send(bytes.data(), setup.size);
      if (setup.size >= 4096 || i % 16 == 15) host.publish();
    }
    host.publish();
    host.receive();
  });
}

void serveSocket(int socket, const Setup& setup) {
  std::vector<char> bytes(setup.size);
  const uint32_t records = setup.mode == Mode::latency ? setup.count + kWarmUp : setup.count;
  for (uint32_t i = 0; i < records; ++i) {
    receiveAll(socket, bytes.data(), bytes.size());
    if (setup.mode == Mode::latency) sendAll(socket, bytes.data(), bytes.size());
  }
  if (setup.mode == Mode::bandwidth) sendAll(socket, bytes.data(), 1);
}

std::vector<double> runSocket(int socket, const Setup& setup) {
  std::vector<char> bytes(setup.size);
  if (setup.mode == Mode::latency) {
    return timeTrips(setup.count, [&] {
      sendAll(socket, bytes.data(), bytes.size());
      receiveAll(socket, bytes.data(), bytes.size());
    });
  }
  return timeTransfer(setup, [&] {
    for (uint32_t i = 0; i < setup.count; ++i) sendAll(socket, bytes.data(), bytes.size());
    receiveAll(socket, bytes.data(), 1);
  });
}

void serveBare(BareVerbs& bare, const Setup& setup) {
  std::vector<std::byte> bytes(setup.size);
  const uint32_t records = setup.mode == Mode::latency ? setup.count + kWarmUp : setup.count;
  for (uint32_t i = 0; i < records; ++i) {
    bare.receive(bytes.data(), setup.size);
    if (setup.mode == Mode::latency) bare.send(bytes.data(), setup.size);
  }
  if (setup.mode == Mode::bandwidth) bare.send(bytes.data(), 1);
}

std::vector<double> runBare(BareVerbs& bare, const Setup& setup) {
  std::vector<std::byte> bytes(setup.size);
  if (setup.mode == Mode::latency) {
    return timeTrips(setup.count, [&] {
      bare.send(bytes.data(), setup.size);
      bare.receive(bytes.data(), setup.size);
    });
  }
  return timeTransfer(setup, [&] {
    for (uint32_t i = 0; i < setup.count; ++i) bare.send(bytes.data(), setup.size);
    bare.receive(bytes.data(), 1);
  });
}

void serveOne(const std::string& address, int socket) {
  Setup theirs;
  receiveAll(socket, &theirs, sizeof theirs);
  if (theirs.way == Way::bareVerbs) {
    BareVerbs bare(address, theirs.spinUs == 0);
    bare.connect(theirs, false);
    sendAll(socket, &bare.ours, sizeof bare.ours);
    bare.greet();
    serveBare(bare, theirs);
    char goodbye;
    receiveAll(socket, &goodbye, 1);
    return;
  }
  if (theirs.way == Way::socket) {
    serveSocket(socket, theirs);
    return;
  }
  Host host(address, theirs);
  if (theirs.way == Way::tcp || theirs.way == Way::sealed) host.expect(address);
  if (theirs.way == Way::verbs) host.connectVerbs(theirs, false);
  sendAll(socket, &host.ours, sizeof host.ours);
  serveChannel(host, theirs);
  char goodbye;
  receiveAll(socket, &goodbye, 1);
}

std::vector<double> runOne(const std::string& address, const std::string& peer, int socket, Setup setup) {
  if (setup.way == Way::socket) {
    sendAll(socket, &setup, sizeof setup);
    return runSocket(socket, setup);
  }
  if (setup.way == Way::bareVerbs) {
    BareVerbs bare(address, setup.spinUs == 0);
    setup.verbs = bare.ours.verbs;
    sendAll(socket, &setup, sizeof setup);
    Setup theirs;
    receiveAll(socket, &theirs, sizeof theirs);
    bare.connect(theirs, true);
    bare.greet();
    std::vector<double> samples = runBare(bare, setup);
    sendAll(socket, "", 1);
    return samples;
  }
  Host host(address, setup);
  setup.verbs = host.ours.verbs;
  sendAll(socket, &setup, sizeof setup);
  Setup theirs;
  receiveAll(socket, &theirs, sizeof theirs);
  if (setup.way == Way::tcp || setup.way == Way::sealed) host.dial(peer, theirs);
  if (setup.way == Way::verbs) host.connectVerbs(theirs, true);
  std::vector<double> samples = runChannel(host, setup);
  sendAll(socket, "", 1);
  return samples;
}

UniqueFd makeSocket(const SocketAddress& address) {
  UniqueFd made(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  return made;
}

SocketAddress addressOf(const std::string& address, const std::string& port) {
  const auto parsed = SocketAddress::parse(address, static_cast<uint16_t>(std::strtoul(port.c_str(), nullptr, 10)));
  if (!parsed) die("not an address in numbers: " + address);
  return *parsed;
}

int serve(const std::string& address, const std::string& port) {
  const SocketAddress where = addressOf(address, port);
  const UniqueFd listener = makeSocket(where);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&where.storage), where.length) != 0 ||
      listen(listener.get(), 8) != 0)
    die("cannot listen");
  for (;;) {
    const UniqueFd socket(accept(listener.get(), nullptr, nullptr));
    setNoDelay(socket.get());
    if (socket.valid()) serveOne(address, socket.get());
  }
}

int run(const std::vector<std::string>& words) {
  const std::string& way = words[5];
  const std::string& mode = words[6];
  const std::map<std::string, Way> ways = {{"tcp", Way::tcp},
                                           {"sealed", Way::sealed},
                                           {"verbs", Way::verbs},
                                           {"socket", Way::socket},
                                           {"bare-verbs", Way::bareVerbs}};
  const bool known = ways.contains(way) && (mode == "lat" || mode == "bw");
  if (!known) die("CARRIER is tcp, sealed, verbs, bare-verbs or socket; MODE is lat or bw");
  Setup setup = {};
  setup.way = ways.at(way);
  setup.mode = mode == "lat" ? Mode::latency : Mode::bandwidth;
  setup.size = static_cast<uint32_t>(std::strtoul(words[7].c_str(), nullptr, 10));
  setup.count = static_cast<uint32_t>(std::strtoul(words[8].c_str(), nullptr, 10));
  setup.spinUs = static_cast<uint32_t>(std::strtoul(words[9].c_str(), nullptr, 10));
  if (setup.size == 0 || setup.size > fabric::recordBytesMax(kRingBytes) || setup.count == 0) die("SIZE or COUNT");
  const SocketAddress peer = addressOf(words[3], words[4]);
  const UniqueFd socket = makeSocket(peer);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&peer.storage), peer.length) != 0) die("cannot connect");
  setNoDelay(socket.get());
  report(setup, runOne(words[2], words[3], socket.get(), setup));
  return 0;
}

}  // namespace

int main(int count, char** given) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> words(given, given + count);
  if (count == 4 && words[1] == "serve") return serve(words[2], words[3]);
  if (count == 10 && words[1] == "run") return run(words);
  std::fprintf(
      stderr,
      "usage: relay-bench serve ADDRESS PORT\n"
      "       relay-bench run ADDRESS PEER PORT tcp|sealed|verbs|bare-verbs|socket lat|bw SIZE COUNT SPIN_US\n");
  return 2;
}
