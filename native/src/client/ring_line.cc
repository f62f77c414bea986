#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <deque>

#include "client/line.h"

namespace shoal::client {
namespace {

/** Records taken before others have their turn. */
constexpr int kRecordsPerTurn = 64;

/** The messages of docs/fabric.md, "Calls over rings". */
class RingLine final : public Line, public Watched, public Awake, public std::enable_shared_from_this<RingLine> {
 public:
  RingLine(Loop& loop, fabric::ChannelEnd end, int side, LineOwner& owner)
      : loop_(loop), end_(std::move(end)), owner_(&owner), accepted_(side == 1) {}

  bool start() {
    if (!loop_.watch(end_.bell.listenFd(), EPOLLIN, this)) return false;
    watched_ = true;
    loop_.wake(this);
    if (accepted_) put({}, false);
    return true;
  }

  ~RingLine() override { stop(); }

  bool isRing() const override { return true; }
  size_t queuedBytes() const override { return queuedBytes_; }

  void send(std::string_view message) override {
    if (ended_ || closing_) return;
    const size_t sent = queue_.empty() ? putParts(message) : 0;
    if (sent == message.size()) return;
    queuedBytes_ += message.size() - sent;
    queue_.emplace_back(message.substr(sent));
  }

  void close(const std::string& why) override {
    if (closing_) return;
    closing_ = true;
    why_ = why;
    if (queue_.empty()) finish(why_);
  }

  void abandon() override {
    if (std::exchange(ended_, true)) return;
    owner_ = nullptr;
    stop();
    loop_.bury(shared_from_this());
  }

  void onEvents(uint32_t) override {
    if (end_.bell.hear() == fabric::Wait::peerGone) gone_ = true;
    end_.in.cancelSleep();
    loop_.wake(this);
    if (waitsForRoom_) flush();
  }

  bool ready() const override { return gone_ || (end_.in.ready() && !isFull()); }

  void work() override {
    const std::shared_ptr<RingLine> self = shared_from_this();
    fabric::Record record;
    fabric::Take took = fabric::Take::empty;
    for (int i = 0; i < kRecordsPerTurn && !ended_ && (gone_ || !isFull()); ++i) {
      took = end_.in.next(record);
      if (took != fabric::Take::record) break;
      take(record);
    }
    if (ended_) return;
    if (end_.in.release()) end_.bell.strike();
    if (took == fabric::Take::corrupt) {
      finish("the peer broke the ring");
    } else if (gone_ && took == fabric::Take::empty) {
      finish("the other side closed the connection");
    }
  }

  bool sleep() override { return isFull() || end_.in.announceSleep(); }

 private:
  /** A caller that lets too many bytes of answers wait is not read from; if callers waited too, both could for ever. */
  bool isFull() const { return accepted_ && queuedBytes_ > kMessageBytesMax; }

  void take(const fabric::Record& record) {
    if (!accepted_ && !welcome_) {
      if (record.length != 0) return finish("the peer did not begin with its welcome");
      welcome_ = true;
      return owner_->onOpen();
    }
    if (record.length == 0) return finish("the peer sent an empty record");
    if (parts_.size() + record.length > kMessageBytesMax) return finish("the peer sent a message that is too long");
    parts_.append(reinterpret_cast<const char*>(record.data), record.length);
    if (record.more) return;
    const std::string message = std::exchange(parts_, {});
    const std::string problem = owner_->onMessage(message);
    if (!problem.empty()) finish(problem);
  }

  /** How many bytes went out. */
  size_t putParts(std::string_view message) {
    const size_t most = end_.out.lengthMax();
    size_t sent = 0;
    while (sent < message.size()) {
      const size_t length = std::min(most, message.size() - sent);
      if (!put(message.substr(sent, length), sent + length < message.size())) break;
      sent += length;
    }
    return sent;
  }

  bool put(std::string_view bytes, bool more) {
    const auto length = static_cast<uint32_t>(bytes.size());
    std::byte* place = end_.out.loan(length);
    if (place == nullptr && end_.out.corruption() == fabric::Corruption::none && !end_.out.announceWait(length)) {
      place = end_.out.loan(length);
    }
    if (place == nullptr) {
      // A broken ring is noticed by its reader; nothing more can be sent either way.
      waitsForRoom_ = true;
      return false;
    }
    if (length > 0) std::memcpy(place, bytes.data(), length);
    end_.out.commit(length, more);
    if (end_.out.publish()) end_.bell.strike();
    return true;
  }

  void flush() {
    waitsForRoom_ = false;
    while (!queue_.empty()) {
      std::string& first = queue_.front();
      const size_t sent = putParts(first);
      queuedBytes_ -= sent;
      if (sent < first.size()) {
        first.erase(0, sent);
        return;
      }
      queue_.pop_front();
    }
    if (closing_) finish(why_);
  }

  void stop() {
    loop_.drop(this);
    if (std::exchange(watched_, false)) loop_.forget(end_.bell.listenFd(), this);
  }

  void finish(const std::string& why) {
    if (ended_) return;
    LineOwner* const owner = owner_;
    abandon();
    owner->onEnd(why);
  }

  Loop& loop_;
  fabric::ChannelEnd end_;
  LineOwner* owner_;
  bool accepted_;
  bool welcome_ = false;
  bool watched_ = false;
  bool gone_ = false;
  bool closing_ = false;
  bool ended_ = false;
  bool waitsForRoom_ = false;
  std::string why_;
  std::string parts_;
  std::deque<std::string> queue_;
  size_t queuedBytes_ = 0;
};

}  // namespace

std::shared_ptr<Line> openRingLine(Loop& loop, fabric::ChannelFds fds, int side, LineOwner& owner,
                                   std::string& problem) {
  std::optional<fabric::ChannelEnd> end = fabric::ChannelEnd::open(std::move(fds), side, problem);
  if (!end) return nullptr;
  auto line = std::make_shared<RingLine>(loop, std::move(*end), side, owner);
  if (line->start()) return line;
  problem = std::string("epoll_ctl: ") + std::strerror(errno);
  return nullptr;
}

}  // namespace shoal::client
