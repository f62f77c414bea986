#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/unique_fd.h"
#include "fabric/channel.h"
#include "relay/carrier.h"
#include "relay/session.h"
#include "relay/tcp_carrier.h"
#include "relay/verbs/carrier.h"

namespace shoal::relay {

/** What the agent is told. */
struct Event {
  /**
   * A carrier's `reason` is `forged` or none. After carrierReplaced there is none until the other is up, or has failed:
   * carrierUp or dialFailed follows.
   */
  enum class Kind { carrierUp, carrierDown, carrierReplaced, dialFailed, channelEnded, connectionEnded };
  Kind kind;
  uint32_t connection;
  CarrierKind carrier = CarrierKind::none;
  uint32_t channel = 0;
  EndReason reason = EndReason::none;
  bool byPeer = false;
  std::string text;
};

struct ConnectionStats : SessionStats {
  CarrierKind carrier = CarrierKind::none;
  uint64_t channels = 0;
  /** How many carriers have been up so far. */
  uint64_t carriers = 0;
  /** Sent, and not yet said to be processed. */
  uint64_t bytesInFlight = 0;
};

struct RelayOptions {
  uint64_t streamBytes = kStreamBytesDefault;
  /** As long as the thread may look for news before it sleeps; 0 for never. */
  Nanoseconds spin{20'000};
  /** How long a connection may be without carrier before its channels end. */
  std::chrono::milliseconds resumeTime{10'000};
};

/**
 * A thread that moves records between rings of local channels and the relay of another host. One connection for each
 * pair of hosts carries any number of channels; who is connected, and by what, is for the agents: they tell each other
 * tokens and parameters over their own authenticated link, and make a new carrier when one is down.
 *
 * All methods may be called from any thread. They wait for the relay's thread where they answer something, which takes
 * microseconds. `onEvents` is called from the relay's thread when takeEvents() has something new.
 */
class Relay {
 public:
  static std::unique_ptr<Relay> start(const RelayOptions& options, std::function<void()> onEvents,
                                      std::string& problem);
  ~Relay();

  /** Once, before others dial; port 0 for any. Answers the port, or 0 with the problem. */
  uint16_t listen(const std::string& address, uint16_t port, std::string& problem);

  /** A connection without carrier; 0 with the problem when there is no memory for it. */
  uint32_t open(std::string& problem);
  /** Ends it and its channels. The peer notices that its carrier is down, no more. */
  void close(uint32_t connection);

  /** Who dials and shows `theirs` within kTokenTime is this connection's peer, and is shown `ours`. */
  bool expect(uint32_t connection, const Token& theirs, const Token& ours, const std::optional<CarrierSecrets>& secrets,
              std::string& problem);
  /** Connects by TCP. The former carrier stays until the peer is reached. With secrets, both ends' own, all is sealed.
   */
  bool dial(uint32_t connection, const std::string& address, uint16_t port, const Token& ours, const Token& theirs,
            const std::optional<CarrierSecrets>& secrets, std::string& problem);
  /** First half of a carrier by verbs, on the port that has this address: what the peer's agent is to be told. */
  bool prepareVerbs(uint32_t connection, const std::string& address, verbs::Parameters& ours, std::string& problem);
  /**
   * Second half, with what the peer's agent told. The former carrier stays until the peer is reached. `first`: speaks
   * first, thus the peer must have done this before.
   */
  bool connectVerbs(uint32_t connection, const verbs::Parameters& theirs, bool first, std::string& problem);
  /** Puts the queues of a carrier by verbs into the error state, as a card does. For tests. */
  void breakQueues(uint32_t connection);
  /** Throws the carrier away, as if it had failed. */
  void drop(uint32_t connection);

  /** Takes one side of a channel over. Channel numbers are the agents' choice, the same on both hosts. */
  bool attach(uint32_t connection, uint32_t channel, fabric::ChannelFds fds, int side, std::string& problem);
  void detach(uint32_t connection, uint32_t channel);

  bool stats(uint32_t connection, ConnectionStats& stats);
  std::vector<Event> takeEvents();

 private:
  struct Connection;
  struct Stranger;
  struct Expected;

  Relay(const RelayOptions& options, std::function<void()> onEvents);

  /** Runs it in the relay's thread and waits for it. */
  void call(const std::function<void()>& command);
  void run();
  void runCommands();
  void handleEvents(int timeoutMs);
  bool turnAll();
  bool turn(Connection& connection);
  bool turnCandidate(Connection& connection);
  bool turnCarrier(Connection& connection);
  bool spinForNews();
  bool announceSleep();
  int sleepMs() const;

  Connection* find(uint32_t number);
  Connection* findOrSay(uint32_t number, std::string& problem);
  std::unique_ptr<verbs::VerbsCarrier> makeQueues(Connection& connection, const verbs::PortAddress& port,
                                                  std::string& problem);
  void makeCandidate(Connection& connection, std::unique_ptr<Carrier> carrier);
  void watchCarrier(Connection& connection);
  void loseCarrier(Connection& connection, const std::string& why, bool replaced = false);
  void end(Connection& connection, EndReason reason, const std::string& why);
  void reportChannels(Connection& connection);
  void report(Event event);

  void acceptStrangers();
  void pauseListening();
  void listenAgain(Clock::time_point now);
  void readStranger(uint32_t number);
  void expireTokens(Clock::time_point now);

  RelayOptions options_;
  std::function<void()> onEvents_;
  UniqueFd epoll_;
  UniqueFd wake_;
  UniqueFd listener_;

  std::mutex commandsMutex_;
  std::vector<std::function<void()>> commands_;
  std::atomic<bool> stopping_ = false;
  std::mutex eventsMutex_;
  std::vector<Event> events_;

  // Of the relay's thread alone.
  std::unordered_map<uint32_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<uint32_t, Stranger> strangers_;
  std::vector<Expected> expected_;
  /** When the listener is watched again, while it is not. */
  Clock::time_point listenAgainAt_ = Clock::time_point::max();
  uint32_t nextConnection_ = 1;
  uint32_t nextStranger_ = 1;
  Nanoseconds averageWait_{0};
  std::thread thread_;
};

}  // namespace shoal::relay
