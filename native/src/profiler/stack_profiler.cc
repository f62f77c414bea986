#include "profiler/stack_profiler.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <unordered_map>

#include "host/system_error.h"
#include "profiler/libbpf_log.h"

namespace shoal::profiler {
namespace {

constexpr uint32_t kHertzMax = 1000;
constexpr char kUnwinding[] = "stacks of code without frame pointers";
constexpr char kInlined[] = "inlined functions in profiles";
constexpr double kNanoseconds = 1e9;

}  // namespace

/** Takes the stacks out and names their functions, in a thread of its own: reading the tables of a large program takes
 * long. */
class StackProfiler::Drain : public Napi::AsyncWorker {
 public:
  Drain(Napi::Env env, StackProfiler& owner)
      : Napi::AsyncWorker(env),
        promise_(Napi::Promise::Deferred::New(env)),
        owner_(owner),
        self_(Napi::Persistent(owner.Value())),
        core_(owner.core_),
        ended_(std::move(owner.unwatched_)) {}

  Napi::Promise promise() const { return promise_.Promise(); }

  void Execute() override {
    raw_.reserve(core_->stacksLast);
    problem_ = core_->sampler.drain(raw_);
    core_->stacksLast = raw_.size();
    lost_ = core_->sampler.lost();
    core_->symbolizer.beginRound();
    core_->unwinder->beginRound();
    for (const auto& [key, stack] : raw_)
      core_->symbolizer.prepareUser(processOf(key), stack.frames + SHOAL_KERNEL_FRAMES_MAX, stack.user_frames);
    core_->symbolizer.readInlined();
    numbers_.reserve(raw_.size());
    for (const auto& [key, stack] : raw_) {
      std::vector<uint32_t> numbers;
      core_->symbolizer.resolveKernel(stack.frames, stack.kernel_frames, numbers);
      if (key.kind == SHOAL_STACK_OFF_CPU) dropOwnFrames(numbers);
      const symbols::ProcessKey process = processOf(key);
      core_->symbolizer.resolveUser(process, stack.frames + SHOAL_KERNEL_FRAMES_MAX, stack.user_frames, numbers);
      core_->unwinder->see(process);
      numbers_.push_back(std::move(numbers));
    }
    leftOut_ = core_->unwinder->leftOut();
    inlinesLeftOut_ = core_->symbolizer.inlinesLeftOut();
    inlinesSpent_ = core_->symbolizer.inlinesSpent();
  }

  void OnOK() override {
    const Napi::Env env = Env();
    owner_.draining_ = false;
    if (problem_) {
      promise_.Reject(Napi::Error::New(env, problem_.call + ": errno " + std::to_string(problem_.number)).Value());
      return;
    }
    const Napi::Object result = Napi::Object::New(env);
    result.Set("lost", Napi::Number::New(env, static_cast<double>(lost_)));
    result.Set("stacks", stacks(env));
    result.Set("functions", functions(env));
    result.Set("tablesLeftOut", tablesLeftOut(env));
    result.Set("inlinesLeftOut", inlinesLeftOut(env));
    result.Set("inlinesSeconds", Napi::Number::New(env, std::chrono::duration<double>(inlinesSpent_).count()));
    for (const uint64_t cgroup : ended_) {
      // It may have been watched again since.
      const auto path = owner_.paths_.find(cgroup);
      if (path != owner_.paths_.end() && !owner_.watched_.contains(path->second)) owner_.paths_.erase(path);
    }
    promise_.Resolve(result);
  }

 private:
  static symbols::ProcessKey processOf(const shoal_stack_key& key) {
    return {static_cast<int>(key.pid), key.start, key.image};
  }

  /** What a task waits in is above the scheduler; below it are this program and what leads to it. */
  void dropOwnFrames(std::vector<uint32_t>& numbers) const {
    static constexpr size_t kOwnFramesMax = 8;
    for (size_t i = 0; i < std::min(numbers.size(), kOwnFramesMax); i += 1) {
      if (core_->symbolizer.function(numbers[i]).name != "__schedule") continue;
      numbers.erase(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(i + 1));
      return;
    }
  }

  Napi::Array stacks(Napi::Env env) {
    const Napi::Array list = Napi::Array::New(env);
    uint32_t length = 0;
    for (size_t i = 0; i < raw_.size(); i += 1) {
      const auto& [key, stack] = raw_[i];
      const auto path = owner_.paths_.find(key.cgroup);
      if (path == owner_.paths_.end()) continue;
      const Napi::Object each = Napi::Object::New(env);
      each.Set("cgroup", Napi::String::New(env, path->second));
      each.Set("kind", Napi::String::New(env, key.kind == SHOAL_STACK_ON_CPU ? "cpu" : "off-cpu"));
      each.Set("pid", Napi::Number::New(env, key.pid));
      each.Set("count", Napi::Number::New(env, static_cast<double>(stack.count)));
      each.Set("seconds", Napi::Number::New(env, static_cast<double>(stack.nanoseconds) / kNanoseconds));
      const Napi::Array frames = Napi::Array::New(env, numbers_[i].size());
      for (size_t frame = 0; frame < numbers_[i].size(); frame += 1)
        frames.Set(static_cast<uint32_t>(frame), Napi::Number::New(env, localNumber(numbers_[i][frame])));
      each.Set("frames", frames);
      list.Set(length, each);
      length += 1;
    }
    return list;
  }

  uint32_t localNumber(uint32_t number) {
    const auto [place, fresh] = local_.try_emplace(number, static_cast<uint32_t>(used_.size()));
    if (fresh) used_.push_back(number);
    return place->second;
  }

  Napi::Array functions(Napi::Env env) const {
    const Napi::Array list = Napi::Array::New(env, used_.size());
    for (uint32_t i = 0; i < used_.size(); i += 1) {
      const symbols::Function& function = core_->symbolizer.function(used_[i]);
      const Napi::Object each = Napi::Object::New(env);
      each.Set("name", Napi::String::New(env, function.name));
      each.Set("file", Napi::String::New(env, function.file));
      if (!function.calledAt.empty()) each.Set("calledAt", Napi::String::New(env, function.calledAt));
      list.Set(i, each);
    }
    return list;
  }

  Napi::Array inlinesLeftOut(Napi::Env env) const {
    const Napi::Array list = Napi::Array::New(env, inlinesLeftOut_.size());
    for (uint32_t i = 0; i < inlinesLeftOut_.size(); i += 1) {
      const Napi::Object each = Napi::Object::New(env);
      each.Set("file", Napi::String::New(env, inlinesLeftOut_[i].file));
      each.Set("why", Napi::String::New(env, inlinesLeftOut_[i].isSplit ? "split" : "unreadable"));
      list.Set(i, each);
    }
    return list;
  }

  Napi::Array tablesLeftOut(Napi::Env env) const {
    const Napi::Array list = Napi::Array::New(env, leftOut_.size());
    for (uint32_t i = 0; i < leftOut_.size(); i += 1) {
      const bool isTooLarge = leftOut_[i].reason == Unwinder::Reason::kTooLarge;
      const Napi::Object each = Napi::Object::New(env);
      each.Set("file", Napi::String::New(env, leftOut_[i].file));
      each.Set("why", Napi::String::New(env, isTooLarge ? "too large" : "no room"));
      list.Set(i, each);
    }
    return list;
  }

  Napi::Promise::Deferred promise_;
  StackProfiler& owner_;
  /** Keeps the owner from being collected meanwhile. */
  Napi::ObjectReference self_;
  std::shared_ptr<Core> core_;
  std::vector<uint64_t> ended_;
  Problem problem_;
  uint64_t lost_ = 0;
  std::vector<Unwinder::LeftOut> leftOut_;
  std::vector<symbols::Symbolizer::InlinesLeftOut> inlinesLeftOut_;
  std::chrono::microseconds inlinesSpent_{};
  std::vector<StackSampler::Stack> raw_;
  std::vector<std::vector<uint32_t>> numbers_;
  /** Numbers of this answer alone, so that only functions that occur are told. */
  std::unordered_map<uint32_t, uint32_t> local_;
  std::vector<uint32_t> used_;
};

Napi::Function StackProfiler::define(Napi::Env env) {
  return DefineClass(
      env, "StackProfiler",
      {InstanceMethod<&StackProfiler::start>("start"), InstanceMethod<&StackProfiler::watch>("watch"),
       InstanceMethod<&StackProfiler::unwatch>("unwatch"), InstanceMethod<&StackProfiler::drain>("drain"),
       InstanceMethod<&StackProfiler::cost>("cost"), InstanceMethod<&StackProfiler::close>("close")});
}

StackProfiler::StackProfiler(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StackProfiler>(info) {}

Napi::Value StackProfiler::start(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const double hertz = info[0].ToNumber().DoubleValue();
  if (!(hertz >= 1 && hertz <= kHertzMax)) {
    const std::string limit = std::to_string(kHertzMax);
    Napi::RangeError::New(env, "the rate must be from 1 to " + limit + " Hz").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const Napi::Object missing = Napi::Object::New(env);
  if (!core_) {
    keepLibbpfLog();
    std::string inlines = info[2].ToString();
    if (const std::string problem = symbols::InlineReader(inlines).problem(); !problem.empty()) {
      missing.Set(kInlined, problem);
      inlines.clear();
    }
    auto core = std::make_shared<Core>(std::move(inlines));
    if (const Problem problem = core->sampler.start(static_cast<unsigned>(hertz), info[1].ToBoolean())) {
      host::throwSystemError(env, problem.number, problem.call, libbpfLog());
      return env.Undefined();
    }
    core->unwinder.emplace(core->sampler.unwindMaps(), core->symbolizer);
    core_ = std::move(core);
  }
  if (!core_->sampler.unwindProblem().empty()) missing.Set(kUnwinding, core_->sampler.unwindProblem());
  return missing;
}

bool StackProfiler::isStarted(Napi::Env env) const {
  if (core_) return true;
  Napi::Error::New(env, "the profiler is not started").ThrowAsJavaScriptException();
  return false;
}

void StackProfiler::watch(const Napi::CallbackInfo& info) {
  if (!isStarted(info.Env())) return;
  const std::string path = info[0].ToString();
  struct stat folder = {};
  if (stat(path.c_str(), &folder) != 0) return host::throwSystemError(info.Env(), errno, "stat", path);
  // The inode number of a cgroup v2 folder is the id of its kernfs node, which is never given out twice.
  const uint64_t cgroup = folder.st_ino;
  if (const Problem problem = core_->sampler.watch(cgroup))
    return host::throwSystemError(info.Env(), problem.number, problem.call, path);
  watched_[path] = cgroup;
  paths_[cgroup] = path;
}

void StackProfiler::unwatch(const Napi::CallbackInfo& info) {
  const auto found = watched_.find(info[0].ToString());
  if (!core_ || found == watched_.end()) return;
  core_->sampler.unwatch(found->second);
  unwatched_.push_back(found->second);
  watched_.erase(found);
}

Napi::Value StackProfiler::drain(const Napi::CallbackInfo& info) {
  if (!isStarted(info.Env())) return info.Env().Undefined();
  if (draining_) {
    Napi::Error::New(info.Env(), "a drain is under way").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  draining_ = true;
  auto* worker = new Drain(info.Env(), *this);
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

Napi::Value StackProfiler::cost(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!isStarted(env)) return env.Undefined();
  const auto [runs, nanoseconds] = core_->sampler.cost();
  const Napi::Object cost = Napi::Object::New(env);
  cost.Set("runs", Napi::Number::New(env, static_cast<double>(runs)));
  cost.Set("seconds", Napi::Number::New(env, static_cast<double>(nanoseconds) / kNanoseconds));
  return cost;
}

void StackProfiler::close(const Napi::CallbackInfo&) {
  watched_.clear();
  paths_.clear();
  unwatched_.clear();
  core_.reset();
}

}  // namespace shoal::profiler
