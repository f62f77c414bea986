#pragma once

#include <deque>
#include <memory>
#include <string>

#include "common/unique_fd.h"
#include "relay/carrier.h"
#include "relay/verbs/library.h"
#include "relay/verbs/ports.h"

namespace shoal::relay::verbs {

/** What the two sides of a pair of queues must know of each other. Plain data: the agents exchange it. */
struct Parameters {
  GidBytes gid = {};
  uint32_t qpNumber = 0;
  /** Of the first packet; 24 bits. */
  uint32_t psn = 0;
  /** As in enum ibv_mtu: 1 (256 bytes) to 5 (4096 bytes). */
  uint32_t mtu = 0;
  uint32_t remoteKey = 0;
  /** Of the memory that takes the peer's stream. */
  uint64_t address = 0;
  uint64_t streamBytes = 0;
};

bool isSound(const Parameters& parameters);

/**
 * The memory of one connection's stream, registered once with the card: not a message is registered. It has a
 * protection domain of its own, so that a peer reaches what takes its own stream and nothing else.
 */
class Memory {
 public:
  static std::shared_ptr<Memory> create(const PortAddress& port, Stream& stream, std::string& problem);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  const Library& library;
  PortAddress port;
  Context* context = nullptr;
  Pd* pd = nullptr;
  MemoryRegion* out = nullptr;
  MemoryRegion* in = nullptr;
  uint32_t mtu = 0;
  /** The device said that it does not work any more. */
  bool broken = false;

 private:
  explicit Memory(const Library& itsLibrary) : library(itsLibrary) {}
};

/**
 * A pair of reliable connected queues. The stream is written into the peer's memory, to the same place as here, each
 * write with an immediate that says how many bytes landed: its completion is the news. Another immediate, without
 * bytes, says how much was processed.
 *
 * Nothing is ever sent that the receiver has no place for: bytes have theirs by the size of the stream's memory, and
 * receive requests are posted for as many writes as a sender may have unacknowledged, and for what else it may say.
 */
class VerbsCarrier final : public Carrier {
 public:
  static std::unique_ptr<VerbsCarrier> create(std::shared_ptr<Memory> memory, std::string& problem);
  ~VerbsCarrier() override;

  Parameters parameters() const;
  /** `first`: greets the peer, which must have connected its queues before; else waits to be greeted. */
  bool connect(const Parameters& peer, bool first, std::string& problem);
  /** As when the card finds an error, for tests. */
  void breakQueues();

  CarrierKind kind() const override { return CarrierKind::verbs; }
  bool reached() override;
  bool ready() const override { return heard_ && helloSent_; }
  Turn receive(Stream& stream, Clock::time_point now) override;
  Turn send(Stream& stream, Clock::time_point now) override;
  int waitFd() const override { return wait_.get(); }
  bool wantsWrite() const override { return false; }
  bool announceSleep() override;
  Clock::time_point deadline() const override;
  const std::string& problem() const override { return problem_; }

 private:
  /** Writes that are not acknowledged, at most; receive requests are posted for them, and for all else. */
  static constexpr uint32_t kWritesMax = 128;
  static constexpr uint32_t kWritesPerAcknowledge = kWritesMax / 4;
  static constexpr uint32_t kReceivesPosted = kWritesMax + 64;
  static constexpr uint32_t kSendsMax = kWritesMax + 64;
  /** A frame is a quarter of the stream's memory at most, thus some writes, far from kWritesMax. */
  static constexpr uint64_t kWriteShare = 32;
  static constexpr uint32_t kSendsPerSignal = 16;
  static constexpr uint32_t kSendsPerPost = 16;
  static constexpr int kCompletionsPerPoll = 32;
  static constexpr uint32_t kInlineBytes = 128;
  /** Two sends come before the first write: that somebody is there, and the hello. */
  static constexpr uint32_t kGreetings = 2;

  explicit VerbsCarrier(std::shared_ptr<Memory> memory) : memory_(std::move(memory)) {}

  bool createQueues(std::string& problem);
  bool initialise();
  bool postReceives(uint32_t count);
  bool postGreeting(uint32_t number, uint32_t length);
  SendRequest& addSend(uint64_t position, uint64_t bytes, bool signal);
  void addWrite(Stream& stream);
  void addAcknowledgement(Stream& stream);
  bool hasSendRoom() const { return posted_ + sendsAdded_ - completed_ < kSendsMax; }
  bool postAll();
  bool mustAcknowledge(const Stream& stream, Clock::time_point now) const;

  Turn fail(std::string why);
  /** The next completion; nullptr when there is none. */
  const Completion* next();
  Turn take(Stream& stream, const Completion& completion);
  Turn takeReceived(Stream& stream, const Completion& completion);
  bool takeGreeting(const Completion& completion);
  Turn takeImmediate(Stream& stream, const Completion& completion);
  Turn acceptHello(Stream& stream);
  void hearEvents();
  void hearAsync();
  void checkPort();

  std::shared_ptr<Memory> memory_;
  std::string problem_;
  Parameters peer_;
  uint32_t psn_ = 0;

  CompletionChannel* channel_ = nullptr;
  Cq* cq_ = nullptr;
  Qp* qp_ = nullptr;
  MemoryRegion* greetingRegion_ = nullptr;
  /** What the peer's greetings land in, and then ours. */
  Hello greetings_[2 * kGreetings];
  UniqueFd wait_;
  uint32_t inlineBytes_ = 0;

  bool connected_ = false;
  bool first_ = false;
  bool knocked_ = false;
  bool helloSent_ = false;
  uint32_t greetingsHeard_ = 0;
  bool heard_ = false;
  bool armed_ = false;

  Completion completions_[kCompletionsPerPoll];
  int completionsBegin_ = 0;
  int completionsEnd_ = 0;

  SendRequest sends_[kSendsPerPost] = {};
  ScatterEntry entries_[kSendsPerPost] = {};
  uint32_t sendsAdded_ = 0;
  /** Counted over the carrier's life. */
  uint64_t posted_ = 0;
  uint64_t completed_ = 0;
  uint64_t lastSignal_ = 0;
  uint64_t bytesSinceSignal_ = 0;
  struct Signal {
    uint64_t post;
    uint64_t position;
  };
  std::deque<Signal> signals_;
  /** Where the writes end that are not acknowledged. */
  std::deque<uint64_t> writes_;
  uint32_t receivesDue_ = 0;
  uint32_t writesHeard_ = 0;
  uint64_t told_ = 0;
  Clock::time_point lastHeard_ = Clock::now();
  Clock::time_point lastSent_ = Clock::now();
};

}  // namespace shoal::relay::verbs
