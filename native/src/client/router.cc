#include "client/router.h"

#include <algorithm>

#include "client/balancer.h"
#include "client/peer.h"

namespace shoal::client {
namespace {

/** A refused call is tried again when the routes change, and at the latest after this. */
constexpr milliseconds kRetry{20};

}  // namespace

Router::Router(Loop& loop, Ways ways, std::function<void(std::string_view)> wanted)
    : loop_(loop), ways_(std::move(ways)), wanted_(std::move(wanted)) {}

Router::~Router() {
  if (retry_) loop_.cancel(*retry_);
}

void Router::update(Routes routes) {
  routes_ = std::move(routes);
  std::erase_if(peers_, [this](auto& entry) {
    const auto& [component, instance] = entry.first;
    const auto route = routes_->find(component);
    const auto names = [&](const std::vector<std::string>& all) {
      return std::find(all.begin(), all.end(), instance) != all.end();
    };
    const bool known = route != routes_->end() && (names(route->second.instances) || names(route->second.owners));
    // One that leaves still answers what it has.
    if (known || entry.second->outstanding() > 0) return false;
    loop_.bury(entry.second);
    return true;
  });
  retryWaiting();
}

void Router::call(Call call) {
  const uint64_t id = nextId_++;
  const std::string what = call.component + "." + call.handler;
  const auto delay = std::max(Clock::duration::zero(), call.deadline - Clock::now());
  call.timer = loop_.after(delay, [this, id, what] {
    // Its timer is the one that runs.
    calls_.at(id).timer.reset();
    for (const auto& [name, peer] : peers_) peer->giveUp(id);
    const bool waited = waiting_.contains(id);
    if (waited) {
      settle(id, {"SHOAL_E_NO_INSTANCE", what + ": the component had no instance that serves until the deadline", {}});
    } else {
      settle(id, {"SHOAL_E_DEADLINE", what + " was not answered in time", {}});
    }
  });
  calls_.emplace(id, std::move(call));
  attempt(id);
}

void Router::attempt(uint64_t id) {
  Call& call = calls_.at(id);
  if (!routes_) return waitForRoute(id);
  const auto route = routes_->find(call.component);
  if (route == routes_->end()) {
    return settle(
        id, {"SHOAL_E_NOT_GRANTED", "add " + call.component + " to this component's `calls` in the manifest", {}});
  }
  const std::string instance = choose(route->second, call);
  if (instance.empty()) {
    if (!call.overloaded.empty()) return settle(id, {"SHOAL_E_OVERLOADED", call.overloaded, {}});
    call.refused.clear();
    if (route->second.instances.empty()) wanted_(call.component);
    return waitForRoute(id);
  }
  called_[call.component] += 1;
  std::shared_ptr<Peer>(peer(call.component, instance).shared_from_this())->send(id);
}

std::string Router::choose(const Route& route, const Call& call) {
  if (call.key && !route.owners.empty()) {
    const std::string& owner = route.owners[shardOfKey(*call.key, route.owners.size())];
    return call.refused.contains(owner) ? std::string() : owner;
  }
  std::vector<Candidate> near;
  std::vector<Candidate> far;
  for (size_t i = 0; i < route.instances.size(); ++i) {
    if (call.refused.contains(route.instances[i])) continue;
    const double weight = route.weights.empty() ? 1.0 : route.weights[i];
    const auto known = peers_.find({call.component, route.instances[i]});
    const double outstanding = known == peers_.end() ? 0.0 : static_cast<double>(known->second->outstanding());
    const bool isNear = i < route.near.value_or(route.instances.size());
    (isNear ? near : far).push_back({i, weight, outstanding / weight});
  }
  // Where all are near their load makes no difference to that.
  const auto chosen = far.empty() ? pickLessLoaded(near, random_) : pickNearer(near, far, random_);
  return chosen ? route.instances[chosen->at] : std::string();
}

void Router::settle(uint64_t id, const Outcome& outcome) {
  auto node = calls_.extract(id);
  if (node.empty()) return;
  waiting_.erase(id);
  if (node.mapped().timer) loop_.cancel(*node.mapped().timer);
  node.mapped().answered(outcome);
}

void Router::elsewhere(uint64_t id, const std::string& instance, const std::string& overloaded) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  found->second.refused.insert(instance);
  if (!overloaded.empty()) found->second.overloaded = overloaded;
  attempt(id);
}

void Router::waitForRoute(uint64_t id) {
  waiting_.insert(id);
  if (retry_) return;
  retry_ = loop_.after(kRetry, [this] {
    retry_.reset();
    retryWaiting();
  });
}

void Router::retryWaiting() {
  for (const uint64_t id : std::exchange(waiting_, {})) {
    if (calls_.contains(id)) attempt(id);
  }
}

Peer& Router::peer(const std::string& component, const std::string& instance) {
  std::shared_ptr<Peer>& known = peers_[{component, instance}];
  if (!known) known = std::make_shared<Peer>(*this, component, instance);
  return *known;
}

void Router::cancelAll() {
  while (!calls_.empty()) settle(calls_.begin()->first, {"SHOAL_E_CANCELLED", "this instance closes", {}});
}

std::map<std::string, Router::Channels> Router::channels() const {
  std::map<std::string, Channels> all;
  for (const auto& [name, peer] : peers_) peer->count(all[name.first]);
  return all;
}

}  // namespace shoal::client
