#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>

#include "client/broker.h"
#include "client/line.h"
#include "client/messages.h"

namespace shoal::client {

struct Outcome {
  /** Empty for an answer. */
  std::string code;
  std::string detail;
  /** msgpack. */
  std::string body;
};

struct Call {
  std::string component;
  std::string handler;
  std::optional<std::string> key;
  std::string body;
  Clock::time_point deadline;
  std::function<void(const Outcome&)> answered;
  /** Instances that have refused it; each may be asked again once all have. */
  std::set<std::string, std::less<>> refused;
  /** Why the last of them did, when it had too much to do. */
  std::string overloaded;
  std::optional<Loop::Timer> timer = std::nullopt;
};

class Peer;

/** Finds for each call the instance that shall serve it, and another one when that cannot (as sdk/router.ts). */
class Router {
 public:
  struct Ways {
    std::string peersFolder;
    /** Null: without rings, and why. */
    Broker* broker;
    std::string whyNoRings;
  };
  /** Open channels to the instances of one component. */
  struct Channels {
    unsigned ring = 0;
    unsigned unix = 0;
    std::string whyNoRing;
  };

  /** `wanted`: tells the agent that a call waits for an instance of the component. */
  Router(Loop& loop, Ways ways, std::function<void(std::string_view)> wanted);
  ~Router();

  void update(Routes routes);
  void call(Call call);
  /** Answers all calls with SHOAL_E_CANCELLED. */
  void cancelAll();

  const std::map<std::string, uint64_t>& called() const { return called_; }
  std::map<std::string, Channels> channels() const;

 private:
  friend class Peer;
  using Calls = std::unordered_map<uint64_t, Call>;

  void attempt(uint64_t id);
  /** The instance to ask; empty when there is none now. */
  std::string choose(const Route& route, const Call& call);
  void settle(uint64_t id, const Outcome& outcome);
  /** The instance has not begun it: another is asked. */
  void elsewhere(uint64_t id, const std::string& instance, const std::string& overloaded);
  void waitForRoute(uint64_t id);
  void retryWaiting();
  Peer& peer(const std::string& component, const std::string& instance);

  Loop& loop_;
  Ways ways_;
  std::function<void(std::string_view)> wanted_;
  std::optional<Routes> routes_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Peer>> peers_;
  Calls calls_;
  std::set<uint64_t> waiting_;
  std::optional<Loop::Timer> retry_;
  std::map<std::string, uint64_t> called_;
  std::minstd_rand random_{std::random_device{}()};
  uint64_t nextId_ = 1;
};

}  // namespace shoal::client
