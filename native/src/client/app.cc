#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "client/agent_link.h"
#include "client/broker.h"
#include "client/msgpack.h"
#include "client/router.h"
#include "client/server.h"
#include "client/stream_socket.h"
#include "shoal.h"

using namespace shoal;
using namespace shoal::client;

namespace {

// As protocol/limits.ts and sdk/app.ts have them.
constexpr double kDeadlineMsDefault = 5'000;
constexpr size_t kChannelsMax = 1'024;
constexpr milliseconds kDrainMax{3'500};
constexpr milliseconds kHangUpMax{500};
constexpr long kSpinUsDefault = 50;
constexpr long kSpinUsMax = 1'000;
constexpr milliseconds kActivateEvery{50};
/** So long nobody is accepted where there are no descriptors or memory to do so. */
constexpr milliseconds kAcceptPause{100};
constexpr int kLookMs = 10;
constexpr size_t kWhyBytesMax = 300;
constexpr size_t kBodyBytesMax = kMessageBytesMax / 2;

std::string variable(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

std::chrono::microseconds spinOf(const std::string& text) {
  char* end = nullptr;
  const long us = text.empty() ? kSpinUsDefault : std::strtol(text.c_str(), &end, 10);
  const bool sound = (end == nullptr || *end == '\0') && us >= 0 && us <= kSpinUsMax;
  return std::chrono::microseconds(sound ? us : kSpinUsDefault);
}

/** Calls a function when there is something to read. */
class Reading final : public Watched {
 public:
  Reading(Loop& loop, UniqueFd fd, std::function<void(int)> action)
      : loop_(loop), fd_(std::move(fd)), action_(std::move(action)) {}
  ~Reading() override {
    if (pause_) loop_.cancel(*pause_);
    if (watched_) loop_.forget(fd_.get(), this);
  }
  bool start() { return watched_ = loop_.watch(fd_.get(), EPOLLIN, this); }
  /** What cannot be served now would keep the loop awake for nothing. */
  void pause(milliseconds time) {
    if (pause_) return;
    loop_.change(fd_.get(), 0, this);
    pause_ = loop_.after(time, [this] {
      pause_.reset();
      loop_.change(fd_.get(), EPOLLIN, this);
    });
  }
  void onEvents(uint32_t) override { action_(fd_.get()); }

 private:
  Loop& loop_;
  UniqueFd fd_;
  std::function<void(int)> action_;
  bool watched_ = false;
  std::optional<Loop::Timer> pause_;
};

}  // namespace

struct shoal_app {
  shoal_app(const std::string& instance, const std::string& folder)
      : loop_(spinOf(variable("SHOAL_SPIN_US"))),
        server_(loop_),
        broker_(makeBroker(folder)),
        router_(loop_, {variable("SHOAL_PEERS_DIR", "/run/shoal-peers"), broker_.get(), "SHOAL_CARRIER is unix"},
                [this](std::string_view component) { agent_.wanted(component); }),
        agent_(loop_, folder + "/agent.sock", instance,
               {[this] { return stats(); }, [this](Routes routes) { router_.update(std::move(routes)); },
                [this] { drain(); }}),
        socketPath_(folder + "/fabric.sock") {}

  bool start() {
    if (!loop_.valid() || !watchSignals()) return false;
    if (broker_) broker_->start();
    agent_.start();
    return true;
  }

  bool ready() {
    UniqueFd socket = listenStream(socketPath_);
    if (!socket.valid()) return false;
    listener_.emplace(loop_, std::move(socket), [this](int listener) { accept(listener); });
    if (!listener_->start()) return false;
    agent_.ready();
    return true;
  }

  /** Whether the instance is still there. */
  bool step(int timeoutMs) {
    // What it has to do when it leaves is looked at every so often.
    const int longest = server_.draining() && (timeoutMs < 0 || timeoutMs > kLookMs) ? kLookMs : timeoutMs;
    loop_.step(milliseconds(longest));
    if (server_.draining()) lookWhetherLeft();
    return !left_;
  }

  void cancelAll() { router_.cancelAll(); }
  void call(Call call) { router_.call(std::move(call)); }
  int fd() const { return loop_.fd(); }
  Server& server() { return server_; }

 private:
  std::unique_ptr<Broker> makeBroker(const std::string& folder) {
    if (variable("SHOAL_CARRIER") == "unix") return nullptr;
    const auto offered = [this](uint64_t channel, fabric::ChannelFds fds) { take(channel, std::move(fds)); };
    return std::make_unique<Broker>(loop_, folder + "/channels", offered);
  }

  void take(uint64_t channel, fabric::ChannelFds fds) {
    const auto closed = [this, channel] {
      taken_ -= 1;
      broker_->closed(channel);
    };
    taken_ += 1;
    // Before ready() and beyond the limit the caller sees that nobody took it, and goes another way.
    if (!listener_ || taken_ > kChannelsMax) return closed();
    server_.acceptRing(std::move(fds), closed);
  }

  void accept(int listener) {
    UniqueFd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    // Who cannot be taken, for lack of descriptors or memory, stays in the queue.
    if (socket.valid())
      server_.acceptSocket(std::move(socket));
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
      listener_->pause(kAcceptPause);
  }

  /** The first process of a PID namespace is not ended by a signal that it has no handler for. */
  bool watchSignals() {
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &ends, nullptr) != 0) return false;
    UniqueFd fd(signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd.valid()) return false;
    signals_.emplace(loop_, std::move(fd), [this](int signals) {
      signalfd_siginfo heard;
      if (read(signals, &heard, sizeof heard) == sizeof heard) drain();
    });
    return signals_->start();
  }

  /** Calls at work are finished, new ones refused, so that their callers ask another instance. */
  void drain() {
    if (server_.draining()) return;
    drainsUntil_ = Clock::now() + kDrainMax;
    server_.drain();
  }

  void lookWhetherLeft() {
    const Clock::time_point now = Clock::now();
    if (!hangsUpUntil_) {
      if (!server_.idle() && now < drainsUntil_) return;
      hangsUpUntil_ = now + kHangUpMax;
    }
    left_ = server_.alone() || now >= *hangsUpUntil_;
  }

  std::string stats() const {
    const Meter& meter = server_.meter();
    Writer message;
    message.map(2).text("type").text("stats").text("stats").map(9);
    message.text("arrived").number(meter.arrived).text("finished").number(meter.finished);
    message.text("failed").number(meter.failed).text("outstanding").number(meter.outstanding());
    message.text("latencyBuckets").array(Meter::kBuckets);
    for (const uint64_t count : meter.latency) message.number(count);
    message.text("shards").array(0).text("busyMs").real(meter.busyMs);
    message.text("called").map(static_cast<uint32_t>(router_.called().size()));
    for (const auto& [component, count] : router_.called()) message.text(component).number(count);
    const std::map<std::string, Router::Channels> channels = router_.channels();
    message.text("channels").map(static_cast<uint32_t>(channels.size()));
    for (const auto& [component, open] : channels) {
      message.text(component).map(open.whyNoRing.empty() ? 2 : 3);
      message.text("ring").number(open.ring).text("unix").number(open.unix);
      if (!open.whyNoRing.empty())
        message.text("whyNoRing").text(std::string_view(open.whyNoRing).substr(0, kWhyBytesMax));
    }
    return message.bytes();
  }

  Loop loop_;
  Server server_;
  std::unique_ptr<Broker> broker_;
  Router router_;
  AgentLink agent_;
  std::string socketPath_;
  std::optional<Reading> listener_;
  std::optional<Reading> signals_;
  size_t taken_ = 0;
  std::optional<Clock::time_point> drainsUntil_;
  std::optional<Clock::time_point> hangsUpUntil_;
  bool left_ = false;
};

namespace {

/** Of a process that was started ahead of need: which instance the agent makes it. Waits. */
class Activation final : public LineOwner {
 public:
  explicit Activation(const std::string& path) : loop_(Clock::duration::zero()), path_(path) {}

  std::string wait() {
    while (instance_.empty()) {
      std::string problem;
      UniqueFd socket = dialStream(path_);
      if (socket.valid()) line_ = openSocketLine(loop_, std::move(socket), false, *this, problem);
      if (line_) line_->send(Writer().map(1).text("type").text("warm").bytes());
      while (line_ && instance_.empty()) loop_.step(milliseconds(-1));
      // The agent is away: it is dialled again.
      if (instance_.empty()) poll(nullptr, 0, static_cast<int>(kActivateEvery.count()));
    }
    if (line_) line_->abandon();
    return instance_;
  }

  std::string onMessage(std::string_view bytes) override {
    const std::optional<FromAgent> message = readFromAgent(bytes);
    if (!message) return "the agent sent a message that makes no sense";
    if (message->kind == FromAgent::Kind::activate) instance_ = message->instance;
    return {};
  }
  void onEnd(const std::string&) override { line_.reset(); }

 private:
  Loop loop_;
  std::string path_;
  std::shared_ptr<Line> line_;
  std::string instance_;
};

shoal_app* refuse(char* why, const std::string& reason) {
  std::snprintf(why, SHOAL_WHY_BYTES, "%s", reason.c_str());
  return nullptr;
}

}  // namespace

extern "C" {

shoal_app* shoal_connect(char* why) {
  const std::string folder = variable("SHOAL_SOCKET_DIR", "/run/shoal");
  std::string instance = variable("SHOAL_INSTANCE");
  if (instance.empty()) return refuse(why, "SHOAL_INSTANCE is not set: run this as a component, by `shoal apply`");
  // SIGTERM ends one that waits, which has nothing to lose.
  if (variable("SHOAL_WARM") == "1") instance = Activation(folder + "/agent.sock").wait();
  auto app = std::make_unique<shoal_app>(instance, folder);
  if (!app->start()) return refuse(why, std::string("epoll or signalfd: ") + std::strerror(errno));
  return app.release();
}

void shoal_close(shoal_app* app) {
  const std::unique_ptr<shoal_app> owned(app);
  if (owned) owned->cancelAll();
}

void shoal_handle(shoal_app* app, const char* name, shoal_handler handler, void* context) {
  [[maybe_unused]] const bool isNew = app->server().handle(name, handler, context);
  assert(isNew && "a handler is registered once");
}

int shoal_ready(shoal_app* app) { return app->ready() ? 0 : -1; }

int shoal_step(shoal_app* app, int timeout_ms) { return app->step(timeout_ms) ? 1 : 0; }

int shoal_run(shoal_app* app) {
  while (app->step(-1)) {
  }
  return 0;
}

int shoal_fd(const shoal_app* app) { return app->fd(); }

void shoal_call(shoal_app* app, const char* component, const char* handler, const char* key, const void* body,
                size_t length, double deadline_ms, shoal_answered answered, void* context) {
  const auto tell = [answered, context](const Outcome& outcome) {
    const char* code = outcome.code.empty() ? nullptr : outcome.code.c_str();
    const shoal_outcome told = {code, outcome.detail.c_str(), outcome.body.data(), outcome.body.size()};
    answered(context, &told);
  };
  const double ms = deadline_ms == 0 ? kDeadlineMsDefault : deadline_ms;
  if (!(ms > 0) || ms > kCallDeadlineMsMax)
    return tell({"SHOAL_E_USAGE", "a deadline is above 0 and at most 600000 ms", {}});
  if (length == 0 || length > kBodyBytesMax)
    return tell({"SHOAL_E_FRAME", "a body is one msgpack value of at most 8 MiB", {}});
  Call call;
  call.component = component;
  call.handler = handler;
  if (key != nullptr) call.key = key;
  call.body.assign(static_cast<const char*>(body), length);
  call.deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms));
  call.answered = tell;
  app->call(std::move(call));
}

const void* shoal_body(const shoal_request* request, size_t* length) {
  *length = request->call.body.size();
  return request->call.body.data();
}

const char* shoal_key(const shoal_request* request) { return request->call.key ? request->call.key->c_str() : nullptr; }

double shoal_time_left(const shoal_request* request) {
  if (request->givenUp) return 0;
  const std::chrono::duration<double, std::milli> gone = Clock::now() - request->began;
  return std::max(0.0, request->call.deadlineMs - gone.count());
}

void shoal_reply(shoal_request* request, const void* body, size_t length) {
  request->server->reply(request, {static_cast<const char*>(body), length});
}

void shoal_fail(shoal_request* request, const char* detail) { request->server->fail(request, detail); }

}  // extern "C"
