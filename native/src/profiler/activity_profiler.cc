#include "profiler/activity_profiler.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/system_error.h"
#include "profiler/bpf_figures.h"
#include "profiler/figures_table.h"
#include "profiler/libbpf_log.h"

namespace shoal::profiler {
namespace {

constexpr double kNanoseconds = 1e9;

Napi::Number seconds(Napi::Env env, uint64_t nanoseconds) {
  return Napi::Number::New(env, static_cast<double>(nanoseconds) / kNanoseconds);
}

Napi::Number number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

/** What read() tells of each cgroup. */
struct Field {
  const char* name;
  /** What has to be counted for it. */
  const char* group;
  shoal_u64 shoal_activity::*value;
  bool isTime = false;
};

constexpr Field kFields[] = {
    {"systemCalls", kSystemCalls, &shoal_activity::system_calls},
    {"systemCallSeconds", kSystemCalls, &shoal_activity::system_call_time, true},
    {"blockReads", kBlockIo, &shoal_activity::io_reads},
    {"blockWrites", kBlockIo, &shoal_activity::io_writes},
    {"blockReadBytes", kBlockIo, &shoal_activity::io_read_bytes},
    {"blockWriteBytes", kBlockIo, &shoal_activity::io_write_bytes},
    {"blockSeconds", kBlockIo, &shoal_activity::io_time, true},
    {"sentBytes", kNetworkBytes, &shoal_activity::sent_bytes},
    {"receivedBytes", kNetworkBytes, &shoal_activity::received_bytes},
    {"retransmits", kRetransmits, &shoal_activity::retransmits},
    {"connects", kConnections, &shoal_activity::connects},
    {"connectSeconds", kConnections, &shoal_activity::connect_time, true},
    {"connectsFailed", kConnections, &shoal_activity::connects_failed},
};

std::string bracketed(const std::string& text) { return std::string("[").append(text).append("]"); }

std::string mappingName(const shoal_detail_key& key) {
  switch (key.place) {
    case SHOAL_MAPPING_FILE: {
      const auto* name = reinterpret_cast<const char*>(key.name);
      return {name, strnlen(name, sizeof key.name)};
    }
    case SHOAL_MAPPING_ANONYMOUS:
      return "[anonymous]";
    case SHOAL_MAPPING_HEAP:
      return "[heap]";
    case SHOAL_MAPPING_STACK:
      return "[stack]";
    default:
      return "[unknown]";
  }
}

std::string callName(const shoal_detail_key& key) {
  static const std::map<uint32_t, std::string> names = {
#include "system_calls.inc"
  };
  const auto found = names.find(key.number);
  return found == names.end() ? bracketed(std::to_string(key.number)) : found->second;
}

std::string peerName(const shoal_detail_key& key) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = static_cast<int>(key.number);
  if (inet_ntop(family, key.name, text, sizeof text) == nullptr) return "[unknown]";
  const std::string address = family == AF_INET6 ? bracketed(text) : text;
  return address + ":" + std::to_string(key.place);
}

}  // namespace

Napi::Function ActivityProfiler::define(Napi::Env env) {
  return DefineClass(
      env, "ActivityProfiler",
      {InstanceMethod<&ActivityProfiler::start>("start"), InstanceMethod<&ActivityProfiler::watch>("watch"),
       InstanceMethod<&ActivityProfiler::unwatch>("unwatch"), InstanceMethod<&ActivityProfiler::read>("read"),
       InstanceMethod<&ActivityProfiler::drain>("drain"), InstanceMethod<&ActivityProfiler::cost>("cost"),
       InstanceMethod<&ActivityProfiler::close>("close")});
}

ActivityProfiler::ActivityProfiler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ActivityProfiler>(info) {}

bool ActivityProfiler::isStarted(Napi::Env env) const {
  if (counter_) return true;
  Napi::Error::New(env, "the counting of activity is not started").ThrowAsJavaScriptException();
  return false;
}

Napi::Value ActivityProfiler::start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!counter_) {
    keepLibbpfLog();
    auto counter = std::make_unique<ActivityCounter>();
    if (const Problem problem = counter->start(info[0].ToBoolean())) {
      host::throwSystemError(env, problem.number, problem.call, libbpfLog());
      return env.Undefined();
    }
    counter_ = std::move(counter);
  }
  const Napi::Object missing = Napi::Object::New(env);
  for (const auto& [what, why] : counter_->missing()) missing.Set(what, why);
  return missing;
}

void ActivityProfiler::watch(const Napi::CallbackInfo& info) {
  if (!isStarted(info.Env())) return;
  const std::string path = info[0].ToString();
  struct stat folder = {};
  if (stat(path.c_str(), &folder) != 0) return host::throwSystemError(info.Env(), errno, "stat", path);
  // The inode number of a cgroup v2 folder is the id of its kernfs node, which is never given out twice.
  const uint64_t cgroup = folder.st_ino;
  if (const Problem problem = counter_->watch(cgroup))
    return host::throwSystemError(info.Env(), problem.number, problem.call, path);
  watched_[path] = cgroup;
  paths_[cgroup] = path;
}

void ActivityProfiler::unwatch(const Napi::CallbackInfo& info) {
  const auto found = watched_.find(info[0].ToString());
  if (!counter_ || found == watched_.end()) return;
  counter_->unwatch(found->second);
  unwatched_.push_back(found->second);
  watched_.erase(found);
}

Napi::Value ActivityProfiler::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  std::vector<const Field*> counted;
  std::vector<const char*> names;
  for (const Field& each : kFields) {
    if (!counter_->counts(each.group)) continue;
    counted.push_back(&each);
    names.push_back(each.name);
  }
  FiguresTable table(std::move(names));
  std::map<uint64_t, shoal_activity> sums;
  if (const Problem problem = counter_->read(sums)) {
    host::throwSystemError(env, problem.number, problem.call);
    return env.Undefined();
  }
  std::vector<double> values(counted.size());
  for (const auto& [path, cgroup] : watched_) {
    const auto found = sums.find(cgroup);
    if (found == sums.end()) continue;
    const shoal_activity& own = found->second;
    std::transform(counted.begin(), counted.end(), values.begin(), [&own](const Field* each) {
      return static_cast<double>(own.*each->value) / (each->isTime ? kNanoseconds : 1);
    });
    table.add(path, values);
  }
  return table.toObject(env);
}

/** Of those that have done any: of hundreds of instances most do no such I/O at all. */
Napi::Array ActivityProfiler::blocks(Napi::Env env, const std::map<uint64_t, shoal_activity>& sums) const {
  const Napi::Array list = Napi::Array::New(env);
  if (!counter_->counts(kBlockIo)) return list;
  for (const auto& [path, cgroup] : watched_) {
    const auto found = sums.find(cgroup);
    if (found == sums.end() || found->second.io_reads + found->second.io_writes == 0) continue;
    const Napi::Array buckets = Napi::Array::New(env, SHOAL_IO_BUCKETS);
    for (uint32_t i = 0; i < SHOAL_IO_BUCKETS; i += 1) buckets.Set(i, number(env, found->second.io_buckets[i]));
    const Napi::Object each = Napi::Object::New(env);
    each.Set("cgroup", path);
    each.Set("buckets", buckets);
    list.Set(list.Length(), each);
  }
  return list;
}

Napi::Value ActivityProfiler::drain(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  std::vector<ActivityCounter::Detail> details;
  std::map<uint64_t, shoal_activity> sums;
  // What is drained is gone from the kernel: that comes last.
  Problem problem = counter_->read(sums);
  if (!problem) problem = counter_->drain(details);
  if (problem) {
    host::throwSystemError(env, problem.number, problem.call);
    return env.Undefined();
  }
  const Napi::Array list = Napi::Array::New(env);
  uint32_t length = 0;
  for (const auto& [key, detail] : details) {
    const auto path = paths_.find(key.cgroup);
    if (path == paths_.end()) continue;
    const Napi::Object each = Napi::Object::New(env);
    each.Set("cgroup", path->second);
    each.Set("count", number(env, detail.count));
    each.Set("seconds", seconds(env, detail.nanoseconds));
    if (key.kind == SHOAL_DETAIL_FAULT) {
      each.Set("kind", key.number == SHOAL_FAULT_MAJOR ? "major fault" : "minor fault");
      each.Set("name", mappingName(key));
    } else if (key.kind == SHOAL_DETAIL_SYSTEM_CALL) {
      each.Set("kind", "system call");
      each.Set("name", callName(key));
    } else {
      each.Set("kind", "peer");
      each.Set("name", peerName(key));
      each.Set("retransmits", number(env, detail.again));
      each.Set("failed", number(env, detail.failed));
    }
    list.Set(length, each);
    length += 1;
  }
  for (const uint64_t cgroup : unwatched_) {
    // It may have been watched again since.
    const auto path = paths_.find(cgroup);
    if (path != paths_.end() && !watched_.contains(path->second)) paths_.erase(path);
  }
  unwatched_.clear();
  const Napi::Object result = Napi::Object::New(env);
  result.Set("lost", number(env, counter_->lost()));
  result.Set("details", list);
  result.Set("blocks", blocks(env, sums));
  return result;
}

Napi::Value ActivityProfiler::cost(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  if (!stats_.valid()) stats_ = countRunTime();
  const auto [runs, nanoseconds] = counter_->cost();
  const Napi::Object cost = Napi::Object::New(env);
  cost.Set("runs", number(env, runs));
  cost.Set("seconds", seconds(env, nanoseconds));
  return cost;
}

void ActivityProfiler::close(const Napi::CallbackInfo&) {
  watched_.clear();
  paths_.clear();
  unwatched_.clear();
  stats_.reset();
  counter_.reset();
}

}  // namespace shoal::profiler
