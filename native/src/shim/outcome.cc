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

/** Of the line that begins with the key; 0 without one. */
unsigned numberAfter(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const size_t newline = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, newline);
    unsigned number = 0;
    if (line.starts_with(key)) std::from_chars(line.data() + key.size(), line.data() + line.size(), number);
    if (number > 0) return number;
    text.remove_prefix(std::min(newline + 1, text.size()));
  }
  return 0;
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

MemoryEvents memoryEvents(std::string_view text) { return {numberAfter(text, "oom "), numberAfter(text, "oom_kill ")}; }

std::string memoryDetail(const Outcome& outcome, const MemoryEvents& events) {
  if (events.kills == 0 || outcome.reason == Outcome::Reason::startFailed) return "";
  const char* where = events.atLimit > 0 ? "at memory.max" : "since the host, or a cgroup above, had no memory left";
  const std::string killed = "killed " + std::to_string(events.kills) + " of its processes " + where;
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
