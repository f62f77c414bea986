#include "relay/relay.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <future>
#include <optional>

namespace shoal::relay {
namespace {

constexpr int kEpollEventsMax = 64;
/** Turns before bells, sockets and commands are looked at. */
constexpr int kTurnsPerLook = 16;
constexpr int kListenBacklog = 64;

enum class Source : uint64_t { wake, listener, stranger, channel, carrier };

/** What an event of epoll is about: source, connection (or stranger), channel. */
uint64_t keyOf(Source source, uint32_t owner = 0, uint32_t channel = 0) {
  return static_cast<uint64_t>(source) << 56 | static_cast<uint64_t>(owner & 0xffffff) << 32 | channel;
}

bool watch(int epoll, int operation, int fd, uint32_t events, uint64_t key) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = key;
  return epoll_ctl(epoll, operation, fd, &event) == 0;
}

uint32_t interestOf(const Carrier& carrier) {
  const uint32_t read = EPOLLIN;
  const uint32_t write = EPOLLOUT;
  return carrier.wantsWrite() ? read | write : read;
}

std::string because(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

struct Relay::Connection {
  Connection(uint32_t itsNumber, Stream stream) : number(itsNumber), session(std::move(stream)) {}

  uint32_t number;
  Session session;
  /** The stream's memory as the card knows it, from the first carrier by verbs on. */
  std::shared_ptr<verbs::Memory> memory;
  /** Waits for what the peer's agent tells. */
  std::unique_ptr<verbs::VerbsCarrier> prepared;
  std::unique_ptr<Carrier> carrier;
  /** Replaces the carrier as soon as the peer is reached. */
  std::unique_ptr<Carrier> candidate;
  /** The carrier has been reported up. */
  bool up = false;
  bool watchesWrite = false;
  /** Has had something to do: takes part in turns until it sleeps. */
  bool hot = true;
  Clock::time_point lostAt = Clock::now();
  uint64_t carriers = 0;
  std::optional<EndReason> ended;
};

/** Has connected, and not shown its token yet. */
struct Relay::Stranger {
  UniqueFd socket;
  Hello hello;
  size_t read = 0;
  Clock::time_point deadline;
};

struct Relay::Expected {
  uint32_t connection;
  Token theirs;
  Token ours;
  std::optional<CarrierSecrets> secrets;
  Clock::time_point deadline;
};

Relay::Relay(const RelayOptions& options, std::function<void()> onEvents)
    : options_(options), onEvents_(std::move(onEvents)) {}

std::unique_ptr<Relay> Relay::start(const RelayOptions& options, std::function<void()> onEvents, std::string& problem) {
  if (!isStreamSize(options.streamBytes)) {
    problem = "a stream has 64 KiB to 64 MiB, a power of two";
    return nullptr;
  }
  std::unique_ptr<Relay> relay(new Relay(options, std::move(onEvents)));
  relay->epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  relay->wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!relay->epoll_.valid() || !relay->wake_.valid() ||
      !watch(relay->epoll_.get(), EPOLL_CTL_ADD, relay->wake_.get(), EPOLLIN, keyOf(Source::wake))) {
    problem = because("epoll");
    return nullptr;
  }
  // The thread inherits the mask: no signal of the process is its own, SIGPIPE of a bell least of all.
  sigset_t all;
  sigset_t former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  relay->thread_ = std::thread([&running = *relay] { running.run(); });
  pthread_sigmask(SIG_SETMASK, &former, nullptr);
  return relay;
}

Relay::~Relay() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void Relay::call(const std::function<void()>& command) {
  std::promise<void> done;
  {
    const std::lock_guard lock(commandsMutex_);
    commands_.push_back([&] {
      command();
      done.set_value();
    });
  }
  eventfd_write(wake_.get(), 1);
  done.get_future().wait();
}

// --- What the agent asks for

uint16_t Relay::listen(const std::string& address, uint16_t port, std::string& problem) {
  const std::optional<SocketAddress> where = SocketAddress::parse(address, port);
  if (!where) {
    problem = "not an address in numbers: " + address;
    return 0;
  }
  UniqueFd socket(::socket(where->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  SocketAddress bound;
  bound.length = sizeof bound.storage;
  if (!socket.valid() || setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&where->storage), where->length) != 0 ||
      ::listen(socket.get(), kListenBacklog) != 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.length) != 0) {
    problem = because("listen");
    return 0;
  }
  uint16_t listening = 0;
  call([&] {
    if (listener_.valid()) {
      problem = "the relay listens already";
    } else if (!watch(epoll_.get(), EPOLL_CTL_ADD, socket.get(), EPOLLIN, keyOf(Source::listener))) {
      problem = because("epoll");
    } else {
      listener_ = std::move(socket);
      listening = bound.port();
    }
  });
  return listening;
}

uint32_t Relay::open(std::string& problem) {
  std::optional<MirroredBuffer> out = MirroredBuffer::create(options_.streamBytes, problem);
  std::optional<MirroredBuffer> in = MirroredBuffer::create(options_.streamBytes, problem);
  if (!out || !in) return 0;
  uint32_t number = 0;
  call([&] {
    number = nextConnection_++;
    connections_[number] = std::make_unique<Connection>(number, Stream(std::move(*out), std::move(*in)));
  });
  return number;
}

void Relay::close(uint32_t connection) {
  call([&] {
    if (Connection* found = find(connection)) end(*found, EndReason::closed, "closed by the agent");
  });
}

bool Relay::expect(uint32_t connection, const Token& theirs, const Token& ours,
                   const std::optional<CarrierSecrets>& secrets, std::string& problem) {
  // Who cannot encrypt says so now, rather than to who has dialled.
  if (secrets && crypto::Library::load(problem) == nullptr) return false;
  bool known = false;
  call([&] {
    known = findOrSay(connection, problem) != nullptr;
    if (!known) return;
    // A new token makes those before it worthless.
    std::erase_if(expected_, [&](const Expected& each) { return each.connection == connection; });
    expected_.push_back({connection, theirs, ours, secrets, Clock::now() + kTokenTime});
  });
  return known;
}

bool Relay::dial(uint32_t connection, const std::string& address, uint16_t port, const Token& ours, const Token& theirs,
                 const std::optional<CarrierSecrets>& secrets, std::string& problem) {
  const std::optional<SocketAddress> to = SocketAddress::parse(address, port);
  if (!to) {
    problem = "not an address in numbers: " + address;
    return false;
  }
  std::unique_ptr<Carrier> carrier = TcpCarrier::dial(*to, ours, theirs, secrets, problem);
  if (!carrier) return false;
  bool known = false;
  call([&] {
    Connection* found = findOrSay(connection, problem);
    known = found != nullptr;
    if (known) makeCandidate(*found, std::move(carrier));
  });
  return known;
}

bool Relay::prepareVerbs(uint32_t connection, const std::string& address, verbs::Parameters& ours,
                         std::string& problem) {
  // The port is looked for at each connect: its indexes change when it goes down and comes back.
  const std::optional<verbs::PortAddress> port = verbs::findPort(address, problem);
  if (!port) return false;
  bool prepared = false;
  call([&] {
    Connection* found = findOrSay(connection, problem);
    if (found == nullptr) return;
    found->prepared = makeQueues(*found, *port, problem);
    prepared = found->prepared != nullptr;
    if (prepared) ours = found->prepared->parameters();
  });
  return prepared;
}

bool Relay::connectVerbs(uint32_t connection, const verbs::Parameters& theirs, bool first, std::string& problem) {
  bool connected = false;
  call([&] {
    Connection* found = findOrSay(connection, problem);
    if (found == nullptr) return;
    if (!found->prepared) problem = "the queues have to be prepared before";
    connected = found->prepared && found->prepared->connect(theirs, first, problem);
    if (connected) makeCandidate(*found, std::move(found->prepared));
    found->prepared.reset();
  });
  return connected;
}

void Relay::breakQueues(uint32_t connection) {
  call([&] {
    Connection* found = find(connection);
    if (found == nullptr || !found->carrier || found->carrier->kind() != CarrierKind::verbs) return;
    static_cast<verbs::VerbsCarrier&>(*found->carrier).breakQueues();
    found->hot = true;
  });
}

void Relay::drop(uint32_t connection) {
  call([&] {
    Connection* found = find(connection);
    if (found == nullptr || !found->carrier) return;
    loseCarrier(*found, "dropped by the agent");
    // A device that is to be taken away is kept by nobody.
    found->memory.reset();
  });
}

bool Relay::attach(uint32_t connection, uint32_t channel, fabric::ChannelFds fds, int side, std::string& problem) {
  for (const int fd : {fds.strike.get(), fds.listen.get()}) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
      problem = because("fcntl");
      return false;
    }
  }
  std::optional<fabric::ChannelEnd> end = fabric::ChannelEnd::open(std::move(fds), side, problem);
  if (!end) return false;
  bool attached = false;
  call([&] {
    Connection* found = findOrSay(connection, problem);
    if (found == nullptr) return;
    const uint32_t ringBytes = end->ringBytes();
    attached = found->session.attach(channel, std::move(*end), ringBytes, problem);
    found->hot = true;
    const int fd = found->session.listenFd(channel);
    if (fd < 0 || watch(epoll_.get(), EPOLL_CTL_ADD, fd, EPOLLIN, keyOf(Source::channel, connection, channel))) return;
    problem = because("epoll_ctl");
    found->session.detach(channel, EndReason::detached);
    attached = false;
  });
  return attached;
}

void Relay::detach(uint32_t connection, uint32_t channel) {
  call([&] {
    Connection* found = find(connection);
    if (found == nullptr) return;
    found->session.detach(channel, EndReason::detached);
    found->hot = true;
  });
}

bool Relay::stats(uint32_t connection, ConnectionStats& stats) {
  bool known = false;
  call([&] {
    Connection* found = find(connection);
    known = found != nullptr;
    if (!known) return;
    static_cast<SessionStats&>(stats) = found->session.stats();
    stats.carrier = found->up ? found->carrier->kind() : CarrierKind::none;
    stats.channels = found->session.channels();
    stats.carriers = found->carriers;
    stats.bytesInFlight = found->session.stream().written() - found->session.stream().acknowledged();
  });
  return known;
}

std::vector<Event> Relay::takeEvents() {
  const std::lock_guard lock(eventsMutex_);
  return std::exchange(events_, {});
}

// --- The thread

void Relay::run() {
  while (!stopping_) {
    bool busy = turnAll();
    for (int i = 1; busy && i < kTurnsPerLook; ++i) busy = turnAll();
    if (!busy) busy = spinForNews() || !announceSleep();
    const Clock::time_point before = Clock::now();
    handleEvents(busy ? 0 : sleepMs());
    if (!busy) averageWait_ += (std::min<Nanoseconds>(Clock::now() - before, 4 * options_.spin) - averageWait_) / 8;
  }
  connections_.clear();
}

void Relay::runCommands() {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(commandsMutex_);
    commands.swap(commands_);
  }
  for (const std::function<void()>& command : commands) command();
}

/** Spinning pays while waits are shorter than a wake-up, see fabric/wait.h. */
bool Relay::spinForNews() {
  if (averageWait_ >= options_.spin) return false;
  const Clock::time_point began = Clock::now();
  for (Clock::time_point now = began; now - began < options_.spin; now = Clock::now()) {
    if (!turnAll()) continue;
    averageWait_ += (Clock::now() - began - averageWait_) / 8;
    return true;
  }
  return false;
}

bool Relay::announceSleep() {
  bool quiet = true;
  for (auto& [number, connection] : connections_) {
    if (!connection->hot) continue;
    const bool sleeps = connection->session.announceSleep() &&
                        (!connection->carrier || connection->carrier->announceSleep()) &&
                        (!connection->candidate || connection->candidate->announceSleep());
    connection->hot = !sleeps;
    quiet = quiet && sleeps;
  }
  return quiet;
}

int Relay::sleepMs() const {
  Clock::time_point first = Clock::time_point::max();
  for (const auto& [number, connection] : connections_) {
    if (connection->carrier) first = std::min(first, connection->carrier->deadline());
    if (connection->candidate) first = std::min(first, connection->candidate->deadline());
    if (!connection->up) first = std::min(first, connection->lostAt + options_.resumeTime);
  }
  for (const auto& [number, stranger] : strangers_) first = std::min(first, stranger.deadline);
  for (const Expected& each : expected_) first = std::min(first, each.deadline);
  first = std::min(first, listenAgainAt_);
  if (first == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void Relay::handleEvents(int timeoutMs) {
  epoll_event events[kEpollEventsMax];
  const int count = epoll_wait(epoll_.get(), events, kEpollEventsMax, timeoutMs);
  for (int i = 0; i < count; ++i) {
    const uint64_t key = events[i].data.u64;
    const auto owner = static_cast<uint32_t>(key >> 32 & 0xffffff);
    Connection* connection = find(owner);
    switch (static_cast<Source>(key >> 56)) {
      case Source::wake: {
        eventfd_t strikes = 0;
        eventfd_read(wake_.get(), &strikes);
        runCommands();
        break;
      }
      case Source::listener:
        acceptStrangers();
        break;
      case Source::stranger:
        readStranger(owner);
        break;
      case Source::channel: {
        if (connection == nullptr) break;
        const auto channel = static_cast<uint32_t>(key);
        const int fd = connection->session.listenFd(channel);
        if (connection->session.hear(channel)) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
        connection->hot = true;
        break;
      }
      case Source::carrier:
        if (connection != nullptr) connection->hot = true;
        break;
    }
  }
  const Clock::time_point now = Clock::now();
  // Whose time has come takes a turn, which finds out what is due.
  for (auto& [number, connection] : connections_) {
    if (connection->hot) continue;
    connection->hot = (connection->carrier && connection->carrier->deadline() <= now) ||
                      (connection->candidate && connection->candidate->deadline() <= now) ||
                      (!connection->up && connection->lostAt + options_.resumeTime <= now);
  }
  expireTokens(now);
  listenAgain(now);
}

bool Relay::turnAll() {
  bool progress = false;
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = *it->second;
    if (connection.hot && !connection.ended) progress |= turn(connection);
    it = connection.ended ? connections_.erase(it) : std::next(it);
  }
  return progress;
}

bool Relay::turn(Connection& connection) {
  bool progress = false;
  if (connection.candidate) progress |= turnCandidate(connection);
  if (connection.carrier) {
    progress |= turnCarrier(connection);
  } else {
    progress |= connection.session.pump() == Turn::progress;
    if (Clock::now() >= connection.lostAt + options_.resumeTime)
      end(connection, EndReason::unreachable, "no carrier in time");
  }
  reportChannels(connection);
  return progress || connection.ended;
}

/** Until the peer is reached the former carrier goes on; then that one ends before the peer is told where we are. */
bool Relay::turnCandidate(Connection& connection) {
  Carrier& candidate = *connection.candidate;
  if (candidate.reached()) {
    if (connection.carrier) loseCarrier(connection, "replaced by another", true);
    connection.carrier = std::move(connection.candidate);
    connection.session.stream().restart();
    watchCarrier(connection);
    return true;
  }
  if (candidate.problem().empty()) return false;
  report(
      {Event::Kind::dialFailed, connection.number, candidate.kind(), 0, EndReason::none, false, candidate.problem()});
  connection.candidate.reset();
  return true;
}

bool Relay::turnCarrier(Connection& connection) {
  Carrier& carrier = *connection.carrier;
  Stream& stream = connection.session.stream();
  const Clock::time_point now = Clock::now();
  const Turn received = carrier.receive(stream, now);
  if (!connection.up && carrier.ready()) {
    connection.up = true;
    connection.carriers += 1;
    report({Event::Kind::carrierUp, connection.number, carrier.kind(), 0, EndReason::none, false, {}});
  }
  // What landed before the carrier failed counts.
  const Turn processed = received == Turn::hostile ? Turn::hostile : connection.session.process();
  if (processed == Turn::hostile) {
    end(connection, EndReason::protocol, "the peer broke the protocol");
    return true;
  }
  const Turn pumped = connection.session.pump();
  const Turn sent = received == Turn::failed ? Turn::failed : carrier.send(stream, now);
  if (received == Turn::failed || sent == Turn::failed) {
    loseCarrier(connection, carrier.problem());
    return true;
  }
  if (carrier.wantsWrite() != connection.watchesWrite) watchCarrier(connection);
  const auto isProgress = [](Turn turn) { return turn == Turn::progress; };
  return isProgress(received) || isProgress(processed) || isProgress(pumped) || isProgress(sent);
}

// --- Connections and carriers

Relay::Connection* Relay::find(uint32_t number) {
  const auto found = connections_.find(number);
  return found == connections_.end() || found->second->ended ? nullptr : found->second.get();
}

Relay::Connection* Relay::findOrSay(uint32_t number, std::string& problem) {
  Connection* found = find(number);
  if (found == nullptr) problem = "no connection " + std::to_string(number);
  return found;
}

/** Registers the stream's memory, unless the card knows it from before and still works. */
std::unique_ptr<verbs::VerbsCarrier> Relay::makeQueues(Connection& connection, const verbs::PortAddress& port,
                                                       std::string& problem) {
  std::shared_ptr<verbs::Memory>& memory = connection.memory;
  if (memory && !memory->broken && memory->port.device == port.device && memory->port.port == port.port) {
    memory->port = port;
    std::string stale;
    std::unique_ptr<verbs::VerbsCarrier> carrier = verbs::VerbsCarrier::create(memory, stale);
    if (carrier) return carrier;
  }
  memory = verbs::Memory::create(port, connection.session.stream(), problem);
  return memory ? verbs::VerbsCarrier::create(memory, problem) : nullptr;
}

void Relay::makeCandidate(Connection& connection, std::unique_ptr<Carrier> carrier) {
  connection.candidate = std::move(carrier);
  connection.hot = true;
  Carrier& candidate = *connection.candidate;
  const uint64_t key = keyOf(Source::carrier, connection.number);
  if (watch(epoll_.get(), EPOLL_CTL_ADD, candidate.waitFd(), interestOf(candidate), key)) return;
  report(
      {Event::Kind::dialFailed, connection.number, candidate.kind(), 0, EndReason::none, false, because("epoll_ctl")});
  connection.candidate.reset();
}

/** Of a carrier that is in place: its descriptor has been watched since it was a candidate. */
void Relay::watchCarrier(Connection& connection) {
  connection.watchesWrite = connection.carrier->wantsWrite();
  const uint32_t events = interestOf(*connection.carrier);
  watch(epoll_.get(), EPOLL_CTL_MOD, connection.carrier->waitFd(), events, keyOf(Source::carrier, connection.number));
}

void Relay::loseCarrier(Connection& connection, const std::string& why, bool replaced) {
  const CarrierKind kind = connection.carrier->kind();
  const bool wasUp = connection.up;
  // A carrier for which the peer was waited in vain has been no carrier, and does not extend the time.
  if (wasUp) connection.lostAt = Clock::now();
  connection.up = false;
  connection.hot = true;
  std::string text = why;
  const EndReason reason = connection.carrier->forged() ? EndReason::forged : EndReason::none;
  connection.carrier.reset();
  connection.session.stream().restart();
  const Event::Kind what = replaced ? Event::Kind::carrierReplaced
                           : wasUp  ? Event::Kind::carrierDown
                                    : Event::Kind::dialFailed;
  report({what, connection.number, kind, 0, reason, false, std::move(text)});
}

void Relay::end(Connection& connection, EndReason reason, const std::string& why) {
  connection.session.endAll(reason);
  reportChannels(connection);
  connection.ended = reason;
  connection.hot = true;
  connection.prepared.reset();
  connection.candidate.reset();
  connection.carrier.reset();
  connection.memory.reset();
  std::erase_if(expected_, [&](const Expected& each) { return each.connection == connection.number; });
  report({Event::Kind::connectionEnded, connection.number, CarrierKind::none, 0, reason, false, why});
}

void Relay::reportChannels(Connection& connection) {
  for (const ChannelEnded& each : connection.session.takeEnded())
    report(
        {Event::Kind::channelEnded, connection.number, CarrierKind::none, each.channel, each.reason, each.byPeer, {}});
}

void Relay::report(Event event) {
  bool first = false;
  {
    const std::lock_guard lock(eventsMutex_);
    first = events_.empty();
    events_.push_back(std::move(event));
  }
  if (first) onEvents_();
}

// --- Who dials

void Relay::acceptStrangers() {
  for (;;) {
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid() && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (!socket.valid()) {
      if (errno != EAGAIN) pauseListening();
      return;
    }
    // Who comes while so many others have not said who they are has to come again.
    if (strangers_.size() >= kStrangersMax) continue;
    const uint32_t number = nextStranger_++ & 0xffffff;
    if (!watch(epoll_.get(), EPOLL_CTL_ADD, socket.get(), EPOLLIN, keyOf(Source::stranger, number))) continue;
    strangers_[number] = {std::move(socket), {}, 0, Clock::now() + kHelloTime};
  }
}

/** Without descriptors or memory who waits to be accepted would keep this thread awake for nothing. */
void Relay::pauseListening() {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  listenAgainAt_ = Clock::now() + kListenPause;
}

void Relay::listenAgain(Clock::time_point now) {
  if (listenAgainAt_ > now) return;
  const bool listens = watch(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), EPOLLIN, keyOf(Source::listener));
  listenAgainAt_ = listens ? Clock::time_point::max() : now + kListenPause;
}

void Relay::readStranger(uint32_t number) {
  const auto found = strangers_.find(number);
  if (found == strangers_.end()) return;
  Stranger& stranger = found->second;
  const ssize_t got = recv(stranger.socket.get(), reinterpret_cast<char*>(&stranger.hello) + stranger.read,
                           sizeof stranger.hello - stranger.read, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) stranger.read += static_cast<size_t>(got);
  if (got > 0 && stranger.read < sizeof stranger.hello) return;
  if (got > 0) {
    const auto who = std::find_if(expected_.begin(), expected_.end(), [&](const Expected& each) {
      return isSameToken(each.theirs.data(), stranger.hello.token);
    });
    Connection* connection = who == expected_.end() ? nullptr : find(who->connection);
    if (connection != nullptr) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stranger.socket.get(), nullptr);
      std::string problem;
      std::unique_ptr<Carrier> carrier =
          TcpCarrier::accepted(std::move(stranger.socket), stranger.hello, who->ours, who->secrets, problem);
      if (carrier)
        makeCandidate(*connection, std::move(carrier));
      else
        report({Event::Kind::dialFailed, connection->number, CarrierKind::tcp, 0, EndReason::none, false, problem});
      expected_.erase(who);
    }
  }
  strangers_.erase(found);
}

void Relay::expireTokens(Clock::time_point now) {
  std::erase_if(expected_, [&](const Expected& each) { return each.deadline <= now; });
  std::erase_if(strangers_, [&](const auto& each) { return each.second.deadline <= now; });
}

}  // namespace shoal::relay
