#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "pattern.h"
#include "relay/relay.h"

/** What tests of the relay share: channels, two hosts whose agents make carriers again, and a proxy that cuts them. */
namespace shoal::test {

using fabric::ChannelEnd;
using fabric::ChannelFds;

/** One side is a local instance's; the other is for a relay or a session. */
struct TestChannel {
  explicit TestChannel(uint32_t ringBytes) {
    std::string problem;
    ChannelFds fds[2];
    CHECK(fabric::makeChannel(ringBytes, fds, problem));
    instance = ChannelEnd::open(std::move(fds[0]), 0, problem);
    CHECK(instance);
    relaySide = std::move(fds[1]);
  }
  ChannelEnd openRelaySide() {
    std::string problem;
    std::optional<ChannelEnd> end = ChannelEnd::open(std::move(relaySide), 1, problem);
    CHECK(end);
    return std::move(*end);
  }
  std::optional<ChannelEnd> instance;
  ChannelFds relaySide;
};

/** Random lengths: mostly short, now and then as long as the ring takes. */
inline uint32_t lengthOf(uint32_t number, uint32_t lengthMax) {
  const uint32_t mixed = number * 2654435761u;
  return mixed % 16 == 0 ? mixed / 16 % (lengthMax + 1) : mixed / 16 % 100;
}

inline relay::Token makeToken(uint32_t number) {
  relay::Token token;
  std::mt19937 random(number);
  for (uint8_t& each : token) each = static_cast<uint8_t>(random());
  return token;
}

/** Secrets of a carrier as the end `side` has them. */
inline relay::CarrierSecrets makeSecrets(uint32_t number, int side) {
  const relay::Token secrets[2] = {makeToken(1'000'000 + 2 * number), makeToken(1'000'001 + 2 * number)};
  return {secrets[side], secrets[1 - side]};
}

/** What a network does to a connection when its budget of bytes is used up. */
enum class Harm { cut, changeABit };

/** Forwards connections to a port of this machine, and harms each after so many bytes in all. */
class CuttingProxy {
 public:
  /** `budget` says how many bytes the next connection may carry. */
  CuttingProxy(uint16_t target, std::function<size_t()> budget, Harm harm)
      : target_(target), budget_(std::move(budget)), harm_(harm) {
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in any = loopback(0);
    socklen_t length = sizeof any;
    CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&any), length) == 0 && listen(listener_.get(), 8) == 0);
    CHECK(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &length) == 0);
    port_ = ntohs(any.sin_port);
    stop_.reset(eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { run(); });
  }
  ~CuttingProxy() {
    eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  uint16_t port() const { return port_; }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  bool waitReadable(int a, int b, bool (&readable)[2]) {
    pollfd all[3] = {{stop_.get(), POLLIN, 0}, {a, POLLIN, 0}, {b, POLLIN, 0}};
    if (poll(all, b < 0 ? 2 : 3, -1) < 0) return false;
    readable[0] = all[1].revents != 0;
    readable[1] = b >= 0 && all[2].revents != 0;
    return all[0].revents == 0;
  }

  void run() {
    bool readable[2];
    while (waitReadable(listener_.get(), -1, readable)) {
      const UniqueFd from(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const UniqueFd to(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = loopback(target_);
      if (connect(to.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) forward(from, to);
    }
  }

  void forward(const UniqueFd& from, const UniqueFd& to) {
    size_t left = budget_();
    const int ends[2] = {from.get(), to.get()};
    std::vector<char> buffer(64 << 10);
    bool readable[2];
    while (left > 0 && waitReadable(ends[0], ends[1], readable)) {
      for (int i = 0; i < 2 && left > 0; ++i) {
        if (!readable[i]) continue;
        const ssize_t got = recv(ends[i], buffer.data(), std::min(buffer.size(), left), 0);
        if (got <= 0) return;
        left -= static_cast<size_t>(got);
        if (left == 0 && harm_ == Harm::changeABit) {
          buffer[static_cast<size_t>(got) - 1] ^= 0x10;
          left = SIZE_MAX;
        }
        for (ssize_t done = 0; done < got;) {
          const ssize_t sent = send(ends[1 - i], buffer.data() + done, static_cast<size_t>(got - done), MSG_NOSIGNAL);
          if (sent <= 0) return;
          done += sent;
        }
      }
    }
  }

  uint16_t target_;
  std::function<size_t()> budget_;
  Harm harm_;
  UniqueFd listener_;
  UniqueFd stop_;
  uint16_t port_ = 0;
  std::thread thread_;
};

/**
 * Two relays and what their agents do: whenever their carrier is down they make another.
 */
class TwoHosts {
 public:
  TwoHosts(const relay::RelayOptions& options, std::function<size_t()> budget = nullptr, bool sealed = true,
           Harm harm = Harm::cut)
      : sealed_(sealed) {
    std::string problem;
    for (int host = 0; host < 2; ++host) {
      relays[host] = relay::Relay::start(
          options, [this] { wake(); }, problem);
      CHECK(relays[host]);
      connections[host] = relays[host]->open(problem);
      CHECK(connections[host] != 0);
    }
    port_ = relays[1]->listen("127.0.0.1", 0, problem);
    CHECK(port_ != 0);
    if (budget) {
      proxy_ = std::make_unique<CuttingProxy>(port_, std::move(budget), harm);
      port_ = proxy_->port();
    }
    connect();
    agent_ = std::thread([this] { runAgent(); });
  }
  ~TwoHosts() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    agent_.join();
    for (auto& each : relays) each.reset();
  }

  void attach(int host, uint32_t channel, TestChannel& test) {
    std::string problem;
    if (!relays[host]->attach(connections[host], channel, std::move(test.relaySide), 1, problem))
      std::fprintf(stderr, "attach: %s\n", problem.c_str()), std::exit(1);
  }

  /** Waits until an event of that host fulfils the condition; looks at those that came before, too. */
  void waitFor(int host, const std::function<bool(const relay::Event&)>& condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      for (const relay::Event& each : seen_[host])
        if (condition(each)) return true;
      return false;
    });
  }
  void waitForUp(int host, size_t times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      size_t ups = 0;
      for (const relay::Event& each : seen_[host]) ups += each.kind == relay::Event::Kind::carrierUp;
      return ups >= times;
    });
  }
  relay::EndReason waitForEnd(int host, uint32_t channel) {
    relay::EndReason reason = relay::EndReason::none;
    waitFor(host, [&](const relay::Event& event) {
      if (event.kind == relay::Event::Kind::channelEnded && event.channel == channel) reason = event.reason;
      return reason != relay::EndReason::none;
    });
    return reason;
  }
  /** How many carriers ended since what came was not what was sent. */
  size_t forgeries() {
    const std::lock_guard lock(mutex_);
    size_t count = 0;
    for (const auto& events : seen_)
      for (const relay::Event& each : events) count += each.reason == relay::EndReason::forged;
    return count;
  }
  void stopReconnecting() {
    const std::lock_guard lock(mutex_);
    reconnects_ = false;
  }
  relay::ConnectionStats stats(int host) {
    relay::ConnectionStats found;
    CHECK(relays[host]->stats(connections[host], found));
    return found;
  }

  std::unique_ptr<relay::Relay> relays[2];
  uint32_t connections[2] = {};

 private:
  void wake() {
    {
      const std::lock_guard lock(mutex_);
      news_ = true;
    }
    changed_.notify_all();
  }

  void connect() {
    std::string problem;
    const relay::Token a = makeToken(tokens_++);
    const relay::Token b = makeToken(tokens_++);
    // Either may have ended meanwhile.
    std::optional<relay::CarrierSecrets> secrets[2];
    if (sealed_) secrets[0] = makeSecrets(tokens_, 0), secrets[1] = makeSecrets(tokens_, 1);
    if (relays[1]->expect(connections[1], a, b, secrets[1], problem))
      relays[0]->dial(connections[0], "127.0.0.1", port_, a, b, secrets[0], problem);
  }

  void runAgent() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      changed_.wait(lock, [&] { return news_ || stopping_; });
      news_ = false;
      bool lost = false;
      for (int host = 0; host < 2; ++host) {
        for (relay::Event& each : relays[host]->takeEvents()) {
          using Kind = relay::Event::Kind;
          lost |= host == 0 && (each.kind == Kind::carrierDown || each.kind == Kind::dialFailed);
          seen_[host].push_back(std::move(each));
        }
      }
      changed_.notify_all();
      if (!reconnects_ || !lost) continue;
      lock.unlock();
      connect();
      lock.lock();
    }
  }

  bool sealed_;
  std::unique_ptr<CuttingProxy> proxy_;
  uint16_t port_ = 0;
  uint32_t tokens_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool news_ = false;
  bool stopping_ = false;
  bool reconnects_ = true;
  std::vector<relay::Event> seen_[2];
  std::thread agent_;
};

/** Sends `records` records of known content, waiting for room. */
inline void sendAll(ChannelEnd& end, uint32_t first, uint32_t records) {
  fabric::Spin spin{std::chrono::nanoseconds(0)};
  for (uint32_t i = first; i < first + records; ++i) {
    const uint32_t length = lengthOf(i, end.out.lengthMax());
    std::byte* place = end.out.loan(length);
    if (place == nullptr) {
      if (end.out.publish()) end.bell.strike();
      CHECK(fabric::waitForRoom(end.out, end.bell, spin, length, -1) == fabric::Wait::ready);
      place = end.out.loan(length);
    }
    CHECK(place != nullptr);
    fillPattern(place, length, i);
    end.out.commit(length, i % 3 == 0);
    if (i % 5 == 0 && end.out.publish()) end.bell.strike();
  }
  if (end.out.publish()) end.bell.strike();
}

/** Takes them: each once, in order, whole. */
inline void receiveAll(ChannelEnd& end, uint32_t first, uint32_t records, uint32_t lengthMax) {
  fabric::Spin spin{std::chrono::nanoseconds(0)};
  for (uint32_t i = first; i < first + records;) {
    fabric::Record record;
    const fabric::Take taken = end.in.next(record);
    CHECK(taken != fabric::Take::corrupt);
    if (taken == fabric::Take::record) {
      CHECK(record.length == lengthOf(i, lengthMax) && record.more == (i % 3 == 0));
      CHECK(isPattern(record.data, record.length, i));
      i += 1;
    }
    if ((taken == fabric::Take::empty || i % 4 == 0) && end.in.release()) end.bell.strike();
    if (taken == fabric::Take::empty) {
      const fabric::Wait waited = fabric::waitForRecord(end.in, end.bell, spin, -1);
      CHECK(waited == fabric::Wait::ready);
    }
  }
  if (end.in.release()) end.bell.strike();
}

}  // namespace shoal::test
