#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "client/line.h"
#include "client/messages.h"

namespace shoal::client {

/** The connection to the agent of this host, dialled again whenever it breaks; serving does not depend on it. */
class AgentLink final : public LineOwner {
 public:
  struct Events {
    /** A message in msgpack that says what this instance has served. */
    std::function<std::string()> stats;
    std::function<void(Routes)> onRoutes;
    std::function<void()> onDrain;
  };

  AgentLink(Loop& loop, std::string path, std::string instance, Events events);
  ~AgentLink() override;

  void start();
  /** Tells the agent, now and after each new connection, that this instance serves. */
  void ready();
  /** A call waits for an instance of the component; the agent is told at most once a second. */
  void wanted(std::string_view component);
  void close();

  std::string onMessage(std::string_view message) override;
  void onEnd(const std::string& why) override;

 private:
  void dial();
  void dialAgain();
  void beat();
  void send(std::string_view message);
  void refuseShard(const FromAgent& message);

  Loop& loop_;
  std::string path_;
  std::string instance_;
  Events events_;
  std::shared_ptr<Line> line_;
  Loop::Timer redial_;
  Loop::Timer beat_;
  bool redials_ = false;
  bool ready_ = false;
  bool closed_ = false;
  milliseconds delay_;
  std::map<std::string, Clock::time_point, std::less<>> wantedAt_;
};

}  // namespace shoal::client
