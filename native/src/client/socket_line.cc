#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "client/line.h"

namespace shoal::client {
namespace {

constexpr size_t kHeaderBytes = 4;
constexpr size_t kReadBytes = 64 * 1024;

uint32_t lengthAt(const char* header) {
  uint32_t length = 0;
  for (size_t i = kHeaderBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(header[i]);
  return length;
}

/** The frames of protocol/frame.ts. */
class SocketLine final : public Line, public Watched, public std::enable_shared_from_this<SocketLine> {
 public:
  SocketLine(Loop& loop, UniqueFd socket, bool accepted, LineOwner& owner)
      : loop_(loop), socket_(std::move(socket)), accepted_(accepted), owner_(&owner) {}

  bool start() { return watched_ = loop_.watch(socket_.get(), events_, this); }

  ~SocketLine() override { stop(); }

  bool isRing() const override { return false; }
  size_t queuedBytes() const override { return out_.size() - sent_; }

  void send(std::string_view message) override {
    if (ended_ || closing_) return;
    const auto length = static_cast<uint32_t>(message.size());
    for (size_t i = 0; i < kHeaderBytes; ++i) out_.push_back(static_cast<char>(length >> (8 * i) & 0xff));
    out_.append(message);
    flush();
  }

  void close(const std::string& why) override {
    if (closing_) return;
    closing_ = true;
    why_ = why;
    if (queuedBytes() == 0) finish(why_);
  }

  void abandon() override {
    if (std::exchange(ended_, true)) return;
    owner_ = nullptr;
    stop();
    socket_.reset();
    loop_.bury(shared_from_this());
  }

  void onEvents(uint32_t events) override {
    const std::shared_ptr<SocketLine> self = shared_from_this();
    if ((events & EPOLLOUT) != 0) flush();
    if (!ended_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read();
  }

 private:
  void read() {
    const size_t before = in_.size();
    in_.resize(before + kReadBytes);
    ssize_t got = 0;
    do {
      got = recv(socket_.get(), in_.data() + before, kReadBytes, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    in_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) return finish(got == 0 ? "the other side closed the connection" : std::strerror(errno));
    takeMessages();
  }

  void takeMessages() {
    size_t at = 0;
    while (!ended_ && in_.size() - at >= kHeaderBytes) {
      const uint32_t length = lengthAt(in_.data() + at);
      if (length > kMessageBytesMax) return finish("the peer announced a frame that is too long");
      if (in_.size() - at < kHeaderBytes + length) break;
      const std::string problem = owner_->onMessage({in_.data() + at + kHeaderBytes, length});
      if (!problem.empty()) return finish(problem);
      at += kHeaderBytes + length;
    }
    in_.erase(0, at);
  }

  void flush() {
    while (queuedBytes() > 0) {
      const ssize_t wrote = ::send(socket_.get(), out_.data() + sent_, queuedBytes(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (wrote < 0 && errno == EINTR) continue;
      // A broken socket is noticed by reading from it.
      if (wrote < 0) break;
      sent_ += static_cast<size_t>(wrote);
    }
    if (queuedBytes() == 0) {
      out_.clear();
      sent_ = 0;
      if (closing_) return finish(why_);
    }
    listenFor();
  }

  /** As in a ring: only who was called waits for the other to read. */
  void listenFor() {
    const bool reads = !accepted_ || queuedBytes() <= kMessageBytesMax;
    const uint32_t wanted = (reads ? EPOLLIN : 0u) | (queuedBytes() > 0 ? EPOLLOUT : 0u);
    if (wanted == events_ || !watched_) return;
    events_ = wanted;
    loop_.change(socket_.get(), events_, this);
  }

  void stop() {
    if (std::exchange(watched_, false)) loop_.forget(socket_.get(), this);
  }

  void finish(const std::string& why) {
    if (ended_) return;
    LineOwner* const owner = owner_;
    abandon();
    owner->onEnd(why);
  }

  Loop& loop_;
  UniqueFd socket_;
  bool accepted_;
  LineOwner* owner_;
  uint32_t events_ = EPOLLIN;
  bool watched_ = false;
  bool closing_ = false;
  bool ended_ = false;
  std::string why_;
  std::string in_;
  std::string out_;
  size_t sent_ = 0;
};

}  // namespace

std::shared_ptr<Line> openSocketLine(Loop& loop, UniqueFd socket, bool accepted, LineOwner& owner,
                                     std::string& problem) {
  auto line = std::make_shared<SocketLine>(loop, std::move(socket), accepted, owner);
  if (line->start()) return line;
  problem = std::string("epoll_ctl: ") + std::strerror(errno);
  return nullptr;
}

}  // namespace shoal::client
