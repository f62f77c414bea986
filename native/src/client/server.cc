#include "client/server.h"

#include "client/msgpack.h"

namespace shoal::client {
namespace {

// As LIMITS of protocol/limits.ts and sdk/server.ts have them.
constexpr size_t kCallsPerCallerMax = 1'024;
constexpr size_t kDetailBytesMax = 4'000;

std::string leaving() { return Writer().map(1).text("type").text("leaving").bytes(); }

}  // namespace

/** One connection that others call through. */
class Caller final : public LineOwner {
 public:
  Caller(Server& server, std::function<void()> ended) : server_(server), ended_(std::move(ended)) {}
  ~Caller() override {
    if (line) line->abandon();
    // The agent is told also of one that ends with the process's other lines.
    if (ended_) ended_();
  }

  std::string onMessage(std::string_view message) override {
    std::optional<CallRequest> request = readCallRequest(message);
    if (!request) return "the caller sent a message that makes no sense";
    const auto known = running.find(request->id);
    if (request->kind == CallRequest::Kind::cancel) {
      if (known != running.end()) known->second->givenUp = true;
      return {};
    }
    if (known != running.end()) return "the caller used the id of a call at work";
    server_.begin(*this, std::move(*request));
    return {};
  }

  void onEnd(const std::string&) override {
    for (auto& [id, request] : running) {
      request->caller = nullptr;
      request->givenUp = true;
    }
    line.reset();
    server_.loop_.bury(std::shared_ptr<Caller>(std::move(server_.callers_.extract(this).mapped())));
  }

  std::shared_ptr<Line> line;
  std::map<uint64_t, shoal_request*> running;

 private:
  Server& server_;
  std::function<void()> ended_;
};

Server::Server(Loop& loop) : loop_(loop) {}
Server::~Server() = default;

bool Server::handle(const std::string& name, shoal_handler handler, void* context) {
  return handlers_.emplace(name, Handler{handler, context}).second;
}

bool Server::acceptRing(fabric::ChannelFds fds, std::function<void()> onEnd) {
  auto caller = std::make_unique<Caller>(*this, std::move(onEnd));
  std::string problem;
  caller->line = openRingLine(loop_, std::move(fds), 1, *caller, problem);
  if (!caller->line) return false;
  if (draining_) caller->line->send(leaving());
  callers_.emplace(caller.get(), std::move(caller));
  return true;
}

void Server::acceptSocket(UniqueFd socket) {
  auto caller = std::make_unique<Caller>(*this, nullptr);
  std::string problem;
  caller->line = openSocketLine(loop_, std::move(socket), true, *caller, problem);
  // Without room for one more the caller sees that it was hung up on, and goes elsewhere.
  if (!caller->line) return;
  if (draining_) caller->line->send(leaving());
  callers_.emplace(caller.get(), std::move(caller));
}

void Server::begin(Caller& caller, CallRequest call) {
  const uint64_t id = call.id;
  if (draining_) return refuse(caller, id, "SHOAL_E_NO_INSTANCE", "this instance is leaving");
  if (caller.running.size() >= kCallsPerCallerMax) {
    return refuse(caller, id, "SHOAL_E_OVERLOADED", "too many calls of one caller are at work");
  }
  if (call.streams) {
    return refuse(caller, id, "SHOAL_E_NO_STREAM", "a component in C answers no streams and takes none");
  }
  if (call.namesShards) return refuse(caller, id, "SHOAL_E_SHARD_MOVED", "this component keeps no state");
  const auto handler = handlers_.find(call.handler);
  if (handler == handlers_.end()) return refuse(caller, id, "SHOAL_E_NO_HANDLER", "no handler " + call.handler);
  auto owned = std::make_unique<shoal_request>(shoal_request{this, &caller, std::move(call), Clock::now()});
  shoal_request* const request = owned.get();
  requests_.emplace(request, std::move(owned));
  caller.running.emplace(id, request);
  meter_.arrived += 1;
  handler->second.function(handler->second.context, request);
}

void Server::refuse(Caller& caller, uint64_t id, std::string_view code, std::string_view detail) {
  Writer answer;
  answer.map(6).text("type").text("error").text("id").number(id).text("code").text(code);
  answer.text("detail").text(detail.substr(0, kDetailBytesMax));
  answer.text("outstanding").number(meter_.outstanding()).text("refused").boolean(true);
  caller.line->send(answer.bytes());
}

void Server::reply(shoal_request* request, std::string_view body) {
  if (body.empty() || body.size() > kMessageBytesMax / 2) {
    return fail(request, "the answer is no msgpack value of at most 8 MiB");
  }
  Writer answer;
  answer.map(4).text("type").text("result").text("id").number(request->call.id);
  answer.text("outstanding").number(meter_.outstanding() - 1).text("body").raw(body);
  end(request, answer.bytes(), true);
}

void Server::fail(shoal_request* request, std::string_view detail) {
  Writer answer;
  answer.map(5).text("type").text("error").text("id").number(request->call.id);
  answer.text("code").text("SHOAL_E_HANDLER").text("detail").text(detail.substr(0, kDetailBytesMax));
  answer.text("outstanding").number(meter_.outstanding() - 1);
  end(request, answer.bytes(), false);
}

void Server::end(shoal_request* request, std::string_view answer, bool ok) {
  meter_.end(ok, Clock::now() - request->began);
  if (request->caller != nullptr) {
    request->caller->running.erase(request->call.id);
    request->caller->line->send(answer);
  }
  requests_.erase(request);
}

void Server::drain() {
  if (std::exchange(draining_, true)) return;
  for (auto& [key, caller] : callers_) caller->line->send(leaving());
}

}  // namespace shoal::client
