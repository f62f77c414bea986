#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "profiler/activity_counter.h"

namespace shoal::profiler {

/** The JavaScript class ActivityProfiler: start, watch, unwatch, read, drain, cost, close. See native/types.ts. */
class ActivityProfiler : public Napi::ObjectWrap<ActivityProfiler> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ActivityProfiler(const Napi::CallbackInfo& info);

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void unwatch(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value drain(const Napi::CallbackInfo& info);
  Napi::Value cost(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  bool isStarted(Napi::Env env) const;
  Napi::Array blocks(Napi::Env env, const std::map<uint64_t, shoal_activity>& sums) const;

  std::unique_ptr<ActivityCounter> counter_;
  UniqueFd stats_;
  std::map<std::string, uint64_t> watched_;
  /** Also of those no longer watched, until the drain that takes out their last counts. */
  std::map<uint64_t, std::string> paths_;
  std::vector<uint64_t> unwatched_;
};

}  // namespace shoal::profiler
