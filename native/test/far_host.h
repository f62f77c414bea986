#pragma once

#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <map>

#include "relay_world.h"

/** The other host of a soak, in processes of its own that can be killed: an agent with its relay, and callees. */
namespace shoal::test {

/** What the near host's agent has the far one's do. */
struct Order {
  enum class Kind { expect, joinVerbs, drop, breakQueues, detach, serve, killCallee };
  Kind kind;
  /** Of a channel; of killCallee, the caller's. */
  uint32_t number = 0;
  relay::Token theirs = {};
  relay::Token ours = {};
  relay::CarrierSecrets secrets = {};
  relay::verbs::Parameters verbs = {};
};

struct Answer {
  /** False: there was nothing to do it to, or it could not be done. */
  bool done = false;
  /** With the first one: where its relay listens. */
  uint16_t port = 0;
  /** Of joinVerbs. */
  relay::verbs::Parameters verbs = {};
};

struct FarHostOptions {
  relay::RelayOptions relay;
  uint32_t ringBytes;
  /** Of a port of this machine; empty: no verbs. */
  std::string rdmaAddress;
};

/** Channels of one caller have numbers from here on, one after the other. */
inline uint32_t firstChannel(uint32_t caller) { return caller << 20; }

/** Answers what comes until its channel ends: the same number, without the rest of the record. */
inline void serve(ChannelEnd& end) {
  fabric::Spin spin(std::chrono::nanoseconds(0));
  for (;;) {
    fabric::Record record;
    const fabric::Take taken = end.in.next(record);
    CHECK(taken != fabric::Take::corrupt);
    if (taken == fabric::Take::record) {
      uint64_t call = 0;
      CHECK(record.length >= sizeof call);
      std::memcpy(&call, record.data, sizeof call);
      std::byte* place = nullptr;
      while ((place = end.out.loan(sizeof call)) == nullptr) {
        if (end.out.publish()) end.bell.strike();
        if (fabric::waitForRoom(end.out, end.bell, spin, sizeof call, -1) == fabric::Wait::peerGone) return;
      }
      std::memcpy(place, &call, sizeof call);
      end.out.commit(sizeof call);
      continue;
    }
    if (end.out.publish()) end.bell.strike();
    if (end.in.release()) end.bell.strike();
    if (fabric::waitForRecord(end.in, end.bell, spin, -1) == fabric::Wait::peerGone) return;
  }
}

/** What runs in the far host's process. Callees are processes of their own, one for each channel. */
class FarAgent {
 public:
  FarAgent(UniqueFd orders, const FarHostOptions& options) : orders_(std::move(orders)), options_(options) {
    std::string problem;
    relay_ = relay::Relay::start(
        options.relay, [] {}, problem);
    CHECK(relay_);
    connection_ = relay_->open(problem);
    CHECK(connection_ != 0);
    const uint16_t port = relay_->listen("127.0.0.1", 0, problem);
    CHECK(port != 0);
    say({.done = true, .port = port});
  }

  /** Until nobody gives orders any more. */
  void run() {
    for (Order order; recv(orders_.get(), &order, sizeof order, 0) == sizeof order;) {
      reap();
      say(obey(order));
    }
  }

 private:
  void say(const Answer& answer) {
    CHECK(send(orders_.get(), &answer, sizeof answer, MSG_NOSIGNAL) == sizeof answer || errno == EPIPE);
  }

  Answer obey(const Order& order) {
    std::string problem;
    Answer answer = {.done = true};
    switch (order.kind) {
      case Order::Kind::expect:
        answer.done = relay_->expect(connection_, order.theirs, order.ours, order.secrets, problem);
        break;
      case Order::Kind::joinVerbs:
        answer.done = relay_->prepareVerbs(connection_, options_.rdmaAddress, answer.verbs, problem) &&
                      relay_->connectVerbs(connection_, order.verbs, false, problem);
        break;
      case Order::Kind::drop:
        relay_->drop(connection_);
        break;
      case Order::Kind::breakQueues: {
        relay::ConnectionStats stats;
        answer.done = relay_->stats(connection_, stats) && stats.carrier == relay::CarrierKind::verbs;
        if (answer.done) relay_->breakQueues(connection_);
        break;
      }
      case Order::Kind::detach:
        relay_->detach(connection_, order.number);
        break;
      case Order::Kind::serve:
        answer.done = startCallee(order.number);
        break;
      case Order::Kind::killCallee: {
        const auto callee = callees_.find(order.number);
        answer.done = callee != callees_.end() && kill(callee->second, SIGKILL) == 0;
        break;
      }
    }
    return answer;
  }

  bool startCallee(uint32_t channel) {
    TestChannel ends(options_.ringBytes);
    std::string problem;
    if (!relay_->attach(connection_, channel, std::move(ends.relaySide), 1, problem)) return false;
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      // It goes with its parent, and keeps no descriptor by which others would notice an end too late.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto [low, high] = std::minmax({ends.instance->bell.strikeFd(), ends.instance->bell.listenFd()});
      CHECK(closeRange(3, low - 1) && closeRange(low + 1, high - 1) && closeRange(high + 1, INT_MAX));
      serve(*ends.instance);
      _exit(0);
    }
    children_.push_back(pid);
    callees_[channel >> 20] = pid;
    return true;
  }

  /** Callees whose channel has ended, or that were killed. */
  void reap() {
    std::erase_if(children_, [this](pid_t pid) {
      int status = 0;
      const pid_t ended = waitpid(pid, &status, WNOHANG);
      CHECK(ended == 0 || ended == pid);
      if (ended == 0) return false;
      CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
      std::erase_if(callees_, [pid](const auto& each) { return each.second == pid; });
      return true;
    });
  }

  static bool closeRange(int first, int last) {
    return first > last || close_range(static_cast<unsigned>(first), static_cast<unsigned>(last), 0) == 0;
  }

  UniqueFd orders_;
  FarHostOptions options_;
  std::unique_ptr<relay::Relay> relay_;
  uint32_t connection_ = 0;
  std::vector<pid_t> children_;
  /** The last one of each caller. */
  std::map<uint32_t, pid_t> callees_;
};

/** The near host's side of it. */
class FarHost {
 public:
  /** To be made while this process has one thread. */
  explicit FarHost(const FarHostOptions& options) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    orders_.reset(ends[0]);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      orders_.reset();
      FarAgent(UniqueFd(ends[1]), options).run();
      _exit(0);
    }
    close(ends[1]);
    Answer first;
    CHECK(recv(orders_.get(), &first, sizeof first, 0) == sizeof first);
    port_ = first.port;
  }
  ~FarHost() { kill(); }

  uint16_t port() const { return port_; }

  /** Nothing when its agent has been killed. */
  std::optional<Answer> ask(const Order& order) {
    const std::lock_guard lock(mutex_);
    Answer answer;
    if (send(orders_.get(), &order, sizeof order, MSG_NOSIGNAL) != sizeof order) return std::nullopt;
    if (recv(orders_.get(), &answer, sizeof answer, 0) != sizeof answer) return std::nullopt;
    return answer;
  }
  bool asked(const Order& order) {
    const std::optional<Answer> answer = ask(order);
    return answer && answer->done;
  }

  /** Its agent, and with it everything of that host, wherever it is just now. It must not have ended by itself. */
  void kill() {
    if (pid_ == 0) return;
    CHECK(::kill(pid_, SIGKILL) == 0);
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_ && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    pid_ = 0;
  }

 private:
  UniqueFd orders_;
  std::mutex mutex_;
  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

}  // namespace shoal::test
