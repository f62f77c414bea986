#include "shim/arguments.h"

#include <charconv>

#include "shim/limits.h"

namespace shoal::shim {
namespace {

constexpr const char* kUsage =
    "usage: shoal-shim --dir DIR --cgroup CGROUPDIR --id ID --crun PATH --crun-root DIR --log-bytes N --log-files N "
    "[--lease FILE] [--stop-signal N]";

/** The same names that the agent gives: safe as a file name and as crun's id. */
bool isId(const std::string& text) {
  if (text.empty() || text.size() > kIdBytesMax) return false;
  for (const char c : text) {
    const bool letterOrDigit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letterOrDigit && c != '-' && c != '_' && c != '.') return false;
  }
  return text[0] != '-' && text[0] != '.';
}

bool parseCount(const std::string& text, uint64_t min, uint64_t max, uint64_t& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end && value >= min && value <= max;
}

/** Absolute, without `..` parts, so that what is removed later lies where the agent said. */
bool isSafePath(const std::string& path) {
  if (path.size() < 2 || path[0] != '/' || path.find('\0') != std::string::npos) return false;
  return (path + "/").find("/../") == std::string::npos;
}

}  // namespace

const char* usage() { return kUsage; }

std::optional<Arguments> parseArguments(const std::vector<std::string>& words, std::string& problem) {
  Arguments arguments;
  std::string logBytes;
  std::string logFiles;
  std::string stopSignal;
  struct Option {
    const char* name;
    std::string* value;
    bool path;
    bool optional = false;
  };
  const Option options[] = {
      {"--dir", &arguments.directory, true},
      {"--cgroup", &arguments.cgroup, true},
      {"--id", &arguments.id, false},
      {"--crun", &arguments.crun, true},
      {"--crun-root", &arguments.crunRoot, true},
      {"--log-bytes", &logBytes, false},
      {"--log-files", &logFiles, false},
      {"--lease", &arguments.lease, true, true},
      {"--stop-signal", &stopSignal, false, true},
  };
  for (size_t i = 0; i < words.size(); i += 2) {
    const Option* found = nullptr;
    for (const Option& option : options) {
      if (words[i] == option.name) found = &option;
    }
    if (found == nullptr) {
      problem = "unknown option " + words[i];
      return std::nullopt;
    }
    if (i + 1 >= words.size() || words[i + 1].empty()) {
      problem = words[i] + " needs a value";
      return std::nullopt;
    }
    if (!found->value->empty()) {
      problem = words[i] + " is given twice";
      return std::nullopt;
    }
    *found->value = words[i + 1];
  }
  for (const Option& option : options) {
    if (option.value->empty()) {
      if (option.optional) continue;
      problem = std::string(option.name) + " is missing";
      return std::nullopt;
    }
    if (option.path && !isSafePath(*option.value)) {
      problem = std::string(option.name) + " must be an absolute path without `..`: " + *option.value;
      return std::nullopt;
    }
  }
  if (!isId(arguments.id)) {
    problem = "--id must be 1 to 128 letters, digits, `-`, `_` or `.`, not beginning with `-` or `.`: " + arguments.id;
    return std::nullopt;
  }
  if (!parseCount(logBytes, kLogBytesMin, kLogBytesMax, arguments.logBytes)) {
    problem = "--log-bytes must be a whole number from 4096 to 1073741824: " + logBytes;
    return std::nullopt;
  }
  if (!parseCount(logFiles, 1, kLogFilesMax, arguments.logFiles)) {
    problem = "--log-files must be a whole number from 1 to 100: " + logFiles;
    return std::nullopt;
  }
  if (uint64_t number = 0; !stopSignal.empty()) {
    if (!parseCount(stopSignal, 1, static_cast<uint64_t>(SIGRTMAX), number)) {
      problem = "--stop-signal must be the number of a signal: " + stopSignal;
      return std::nullopt;
    }
    arguments.stopSignal = static_cast<int>(number);
  }
  return arguments;
}

}  // namespace shoal::shim
