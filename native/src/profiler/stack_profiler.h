#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "profiler/stack_sampler.h"
#include "profiler/unwinder.h"
#include "symbols/symbolizer.h"

namespace shoal::profiler {

/** The JavaScript class StackProfiler: start, watch, unwatch, drain, cost, close. See native/types.ts. */
class StackProfiler : public Napi::ObjectWrap<StackProfiler> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit StackProfiler(const Napi::CallbackInfo& info);

 private:
  class Drain;
  /** What a drain in its thread works on; it outlives close(). */
  struct Core {
    explicit Core(std::string inlinesProgram) : symbolizer(std::move(inlinesProgram)) {}
    StackSampler sampler;
    symbols::Symbolizer symbolizer;
    std::optional<Unwinder> unwinder;
    /** How many different ones there were in the last second, and so about how many there will be. */
    size_t stacksLast = 0;
  };
  struct Watched {
    uint64_t cgroup = 0;
    std::string path;
  };

  Napi::Value start(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void unwatch(const Napi::CallbackInfo& info);
  Napi::Value drain(const Napi::CallbackInfo& info);
  Napi::Value cost(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  bool isStarted(Napi::Env env) const;

  std::shared_ptr<Core> core_;
  std::map<std::string, uint64_t> watched_;
  /** Also of those no longer watched, until the drain that takes out their last samples. */
  std::map<uint64_t, std::string> paths_;
  std::vector<uint64_t> unwatched_;
  bool draining_ = false;
};

}  // namespace shoal::profiler
