#include "profiler/cpu_profiler.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include "cpu_time.skel.h"
#include "host/system_error.h"
#include "profiler/bpf_figures.h"
#include "profiler/cpu_time_reader.h"
#include "profiler/figures_table.h"
#include "profiler/libbpf_log.h"

namespace shoal::profiler {
namespace {

constexpr double kNanoseconds = 1e9;

uint64_t monotonicNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void CpuProfiler::Destroy::operator()(cpu_time_bpf* program) const { cpu_time_bpf__destroy(program); }

Napi::Function CpuProfiler::define(Napi::Env env) {
  return DefineClass(env, "CpuProfiler",
                     {InstanceMethod<&CpuProfiler::start>("start"), InstanceMethod<&CpuProfiler::watch>("watch"),
                      InstanceMethod<&CpuProfiler::unwatch>("unwatch"), InstanceMethod<&CpuProfiler::read>("read"),
                      InstanceMethod<&CpuProfiler::cost>("cost"), InstanceMethod<&CpuProfiler::close>("close")});
}

CpuProfiler::CpuProfiler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CpuProfiler>(info) {}

void CpuProfiler::start(const Napi::CallbackInfo& info) {
  if (program_) return;
  keepLibbpfLog();
  const int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return host::throwSystemError(info.Env(), -cpus, "libbpf_num_possible_cpus");
  cpus_ = static_cast<size_t>(cpus);
  std::unique_ptr<cpu_time_bpf, Destroy> program(cpu_time_bpf__open());
  int problem = program ? cpu_time_bpf__load(program.get()) : -errno;
  if (problem == 0) problem = cpu_time_bpf__attach(program.get());
  if (problem != 0) return host::throwSystemError(info.Env(), -problem, "bpf", libbpfLog());
  program_ = std::move(program);
}

bool CpuProfiler::isStarted(Napi::Env env) const {
  if (program_) return true;
  Napi::Error::New(env, "the profiler is not started").ThrowAsJavaScriptException();
  return false;
}

void CpuProfiler::watch(const Napi::CallbackInfo& info) {
  if (!isStarted(info.Env())) return;
  const std::string path = info[0].ToString();
  struct stat folder = {};
  if (stat(path.c_str(), &folder) != 0) return host::throwSystemError(info.Env(), errno, "stat", path);
  // The inode number of a cgroup v2 folder is the id of its kernfs node.
  const uint64_t cgroup = folder.st_ino;
  const std::vector<shoal_cpu_time> zeros(cpus_);
  const int result = bpf_map__update_elem(program_->maps.cpu_time, &cgroup, sizeof cgroup, zeros.data(),
                                          zeros.size() * sizeof(shoal_cpu_time), BPF_NOEXIST);
  if (result == -EEXIST) return;
  if (result != 0) return host::throwSystemError(info.Env(), -result, "bpf_map_update_elem", path);
  watched_[path] = {cgroup, 0};
}

void CpuProfiler::unwatch(const Napi::CallbackInfo& info) {
  const auto found = watched_.find(info[0].ToString());
  if (!program_ || found == watched_.end()) return;
  bpf_map__delete_elem(program_->maps.cpu_time, &found->second.cgroup, sizeof(uint64_t), 0);
  watched_.erase(found);
}

Napi::Value CpuProfiler::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  std::map<uint64_t, std::vector<shoal_cpu_time>> finished;
  const auto keep = [&finished](uint64_t cgroup, const std::vector<shoal_cpu_time>& values) {
    finished[cgroup] = values;
  };
  if (!readCgroups<shoal_cpu_time>(program_->maps.cpu_time, cpus_, keep)) {
    host::throwSystemError(env, errno, "bpf_map_lookup_batch");
    return env.Undefined();
  }
  std::vector<shoal_running> running(cpus_);
  const unsigned int zero = 0;
  const int result = bpf_map__lookup_elem(program_->maps.running, &zero, sizeof zero, running.data(),
                                          running.size() * sizeof(shoal_running), 0);
  if (result != 0) {
    host::throwSystemError(env, -result, "bpf_map_lookup_elem");
    return env.Undefined();
  }
  const uint64_t now = monotonicNanoseconds();
  FiguresTable table({"cpuSeconds", "runDelaySeconds", "faultsMinor", "faultsMajor"});
  for (auto& [path, watched] : watched_) {
    const auto found = finished.find(watched.cgroup);
    if (found == finished.end()) continue;
    const std::vector<shoal_cpu_time>& values = found->second;
    watched.nanoseconds = std::max(watched.nanoseconds, cpuNanoseconds(watched.cgroup, values, running, now));
    shoal_cpu_time sum = {};
    for (const shoal_cpu_time& each : values) {
      sum.waited += each.waited;
      sum.faults_minor += each.faults_minor;
      sum.faults_major += each.faults_major;
    }
    table.add(path,
              {static_cast<double>(watched.nanoseconds) / kNanoseconds, static_cast<double>(sum.waited) / kNanoseconds,
               static_cast<double>(sum.faults_minor), static_cast<double>(sum.faults_major)});
  }
  return table.toObject(env);
}

Napi::Value CpuProfiler::cost(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  if (!stats_.valid()) stats_ = countRunTime();
  const auto [runs, nanoseconds] = runCost(program_->obj);
  const Napi::Object cost = Napi::Object::New(env);
  cost.Set("runs", Napi::Number::New(env, static_cast<double>(runs)));
  cost.Set("seconds", Napi::Number::New(env, static_cast<double>(nanoseconds) / kNanoseconds));
  return cost;
}

void CpuProfiler::close(const Napi::CallbackInfo&) {
  watched_.clear();
  stats_.reset();
  program_.reset();
}

}  // namespace shoal::profiler
