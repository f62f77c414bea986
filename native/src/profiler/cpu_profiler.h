#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/unique_fd.h"

struct cpu_time_bpf;

namespace shoal::profiler {

/** The JavaScript class CpuProfiler: start, watch, unwatch, read, cost, close. See native/types.ts. */
class CpuProfiler : public Napi::ObjectWrap<CpuProfiler> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit CpuProfiler(const Napi::CallbackInfo& info);

 private:
  struct Destroy {
    void operator()(cpu_time_bpf* program) const;
  };
  struct Watched {
    uint64_t cgroup = 0;
    /** The last reading: what is told never falls. */
    uint64_t nanoseconds = 0;
  };

  void start(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void unwatch(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value cost(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  bool isStarted(Napi::Env env) const;

  std::unique_ptr<cpu_time_bpf, Destroy> program_;
  UniqueFd stats_;
  std::map<std::string, Watched> watched_;
  size_t cpus_ = 0;
};

}  // namespace shoal::profiler
