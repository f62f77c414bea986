#include "shim/outcome.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>

#include "shim/json.h"
#include "shim/limits.h"

namespace shoal::shim {
namespace {

const char* reasonName(Outcome::Reason reason) {
  switch (reason) {
    case Outcome::Reason::exited:
      return "exited";
    case Outcome::Reason::signalled:
      return "signalled";
    case Outcome::Reason::startFailed:
      return "start-failed";
  }
  return "start-failed";
}

std::string numberOrNull(const std::optional<int>& number) { return number ? std::to_string(*number) : "null"; }

}  // namespace

Outcome outcomeOfStatus(int waitStatus) {
  Outcome outcome;
  if (WIFSIGNALED(waitStatus)) {
    outcome.reason = Outcome::Reason::signalled;
    outcome.signal = WTERMSIG(waitStatus);
  } else {
    outcome.reason = Outcome::Reason::exited;
    outcome.code = WEXITSTATUS(waitStatus);
  }
  return outcome;
}

unsigned memoryKills(std::string_view events) {
  constexpr std::string_view kKey = "oom_kill ";
  for (size_t at = 0; at < events.size();) {
    const size_t newline = std::min(events.find('\n', at), events.size());
    const std::string_view line = events.substr(at, newline - at);
    unsigned count = 0;
    if (line.starts_with(kKey)) std::from_chars(line.data() + kKey.size(), line.data() + line.size(), count);
    if (count > 0) return count;
    at = newline + 1;
  }
  return 0;
}

std::string memoryDetail(const Outcome& outcome, unsigned kills) {
  if (kills == 0 || outcome.reason == Outcome::Reason::startFailed) return "";
  const std::string killed = "killed " + std::to_string(kills) + " of its processes at memory.max";
  // A shell says with 128 and the signal's number how its last command has ended.
  if (outcome.signal == SIGKILL || outcome.code == 128 + SIGKILL) return "out of memory: the kernel " + killed;
  if (outcome.signal == SIGTERM || outcome.code == 0) return "";
  // It may have ended by itself since one of those is missing, or for any other reason.
  return "while it ran the kernel " + killed;
}

Outcome startFailed(std::string detail) {
  Outcome outcome;
  outcome.reason = Outcome::Reason::startFailed;
  if (detail.size() > kDetailBytesMax) detail.resize(kDetailBytesMax);
  outcome.detail = std::move(detail);
  return outcome;
}

std::string toJson(const Outcome& outcome) {
  return "{\"code\":" + numberOrNull(outcome.code) + ",\"signal\":" + numberOrNull(outcome.signal) +
         ",\"reason\":" + jsonString(reasonName(outcome.reason)) + ",\"detail\":" + jsonString(outcome.detail) + "}\n";
}

std::string crunMessage(std::string_view log) {
  std::string lastError;
  std::string last;
  while (!log.empty()) {
    const size_t newline = log.find('\n');
    const std::string_view line = log.substr(0, newline);
    log.remove_prefix(newline == std::string_view::npos ? log.size() : newline + 1);
    const std::optional<std::string> message = jsonStringField(line, "msg");
    if (!message || message->empty()) continue;
    last = *message;
    if (jsonStringField(line, "level") == "error") lastError = *message;
  }
  return lastError.empty() ? last : lastError;
}

std::string describeCrunStatus(int waitStatus) {
  if (WIFSIGNALED(waitStatus)) return "crun was killed by signal " + std::to_string(WTERMSIG(waitStatus));
  return "crun exited with code " + std::to_string(WEXITSTATUS(waitStatus));
}

}  // namespace shoal::shim
