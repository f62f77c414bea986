#pragma once

#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>

#include "client/line.h"
#include "client/messages.h"
#include "client/meter.h"
#include "shoal.h"

namespace shoal::client {

class Caller;
class Server;

}  // namespace shoal::client

/** A call at work. */
struct shoal_request {
  shoal::client::Server* server;
  /** Null once the caller is gone. */
  shoal::client::Caller* caller;
  shoal::client::CallRequest call;
  shoal::client::Clock::time_point began;
  bool givenUp = false;
};

namespace shoal::client {

/** Serves the calls of other instances. */
class Server {
 public:
  explicit Server(Loop& loop);
  ~Server();

  bool handle(const std::string& name, shoal_handler handler, void* context);
  /** `onEnd` is called once, when the channel is closed. False when it could not be opened. */
  bool acceptRing(fabric::ChannelFds fds, std::function<void()> onEnd);
  void acceptSocket(UniqueFd socket);

  void reply(shoal_request* request, std::string_view body);
  void fail(shoal_request* request, std::string_view detail);

  /** Refuses new calls, and tells callers to hang up when those at work are answered. */
  void drain();
  bool draining() const { return draining_; }
  /** No calls are at work; nobody is connected. */
  bool idle() const { return meter_.outstanding() == 0; }
  bool alone() const { return callers_.empty(); }

  const Meter& meter() const { return meter_; }

 private:
  friend class Caller;
  struct Handler {
    shoal_handler function;
    void* context;
  };

  void begin(Caller& caller, CallRequest call);
  void refuse(Caller& caller, uint64_t id, std::string_view code, std::string_view detail);
  void end(shoal_request* request, std::string_view answer, bool ok);

  Loop& loop_;
  std::map<std::string, Handler, std::less<>> handlers_;
  std::map<Caller*, std::unique_ptr<Caller>> callers_;
  std::unordered_map<shoal_request*, std::unique_ptr<shoal_request>> requests_;
  Meter meter_;
  bool draining_ = false;
};

}  // namespace shoal::client
