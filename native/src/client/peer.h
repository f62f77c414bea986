#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/router.h"

namespace shoal::client {

/** One callee instance: its channel, dialled when first needed, and the calls under way there. */
class Peer : public std::enable_shared_from_this<Peer> {
 public:
  Peer(Router& router, std::string component, std::string instance)
      : router_(router), component_(std::move(component)), instance_(std::move(instance)) {}
  ~Peer();

  void send(uint64_t id);
  /** Nobody waits for the call any more. */
  void giveUp(uint64_t id);
  size_t outstanding() const { return calls_.size(); }
  void count(Router::Channels& channels) const;
  const std::string& component() const { return component_; }

 private:
  class Channel;

  void dial();
  void dialSocket(const std::string& why);
  void opened(const std::shared_ptr<Channel>& channel);
  void failed(const std::string& why);
  void improve();
  void put(Channel& channel, uint64_t id);

  Router& router_;
  std::string component_;
  std::string instance_;
  /** New calls go there. */
  std::shared_ptr<Channel> channel_;
  /** A ring that the callee has not taken yet, and channels that only end what is under way there. */
  std::set<std::shared_ptr<Channel>> others_;
  bool dialling_ = false;
  std::vector<uint64_t> queue_;
  std::set<uint64_t> calls_;
};

}  // namespace shoal::client
