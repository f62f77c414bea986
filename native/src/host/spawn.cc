#include "host/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "common/polled.h"
#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

/** Reaps a child of this process when it has ended. */
class Reaper : public Polled {
 public:
  Reaper(Napi::Env env, UniqueFd pidfd) : Polled(env), pidfd_(std::move(pidfd)) {}

  int start() {
    const int problem = watch(pidfd_.get());
    if (problem == 0) unref();
    return problem;
  }

 private:
  void onReadable() override {
    siginfo_t ended;
    waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &ended, WEXITED | WNOHANG);
    close();
  }
  void onClosing() override {}

  UniqueFd pidfd_;
};

class Actions {
 public:
  Actions() {
    posix_spawn_file_actions_init(&value_);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      if (error_ == 0) error_ = posix_spawn_file_actions_addopen(&value_, fd, "/dev/null", O_RDWR, 0);
    }
    if (error_ == 0) error_ = posix_spawn_file_actions_addchdir_np(&value_, "/");
  }
  ~Actions() { posix_spawn_file_actions_destroy(&value_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;

  int error() const { return error_; }
  const posix_spawn_file_actions_t* get() const { return &value_; }

 private:
  posix_spawn_file_actions_t value_;
  int error_ = 0;
};

class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&value_);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&value_, &none);
    posix_spawnattr_setsigdefault(&value_, &all);
    posix_spawnattr_setflags(&value_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { posix_spawnattr_destroy(&value_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  const posix_spawnattr_t* get() const { return &value_; }

 private:
  posix_spawnattr_t value_;
};

/** By posix_spawn(3), which copies no page tables: fork(2) of an agent of 100 MiB stops it for some 10 ms. */
int spawn(pid_t& pid, std::vector<std::string>& words) {
  const Actions actions;
  if (actions.error() != 0) return actions.error();
  const Attributes attributes;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const environment[] = {nullptr};
  return posix_spawn(&pid, argv[0], actions.get(), attributes.get(), argv.data(), environment);
}

/** Watches the new child; what cannot be watched does not go on. */
int reapLater(Napi::Env env, pid_t pid) {
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int problem = pidfd.valid() ? -(new Reaper(env, std::move(pidfd)))->start() : errno;
  if (problem == 0) return 0;
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return problem;
}

/** In a thread of the pool, since the caller of vfork(2) stands still until the program has begun. */
class Spawn : public Napi::AsyncWorker {
 public:
  Spawn(Napi::Env env, std::vector<std::string> words)
      : Napi::AsyncWorker(env), words_(std::move(words)), deferred_(Napi::Promise::Deferred::New(env)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 private:
  void Execute() override { problem_ = spawn(pid_, words_); }

  void OnOK() override {
    if (problem_ != 0) {
      deferred_.Reject(systemError(Env(), problem_, "posix_spawn", words_[0]).Value());
    } else if (const int problem = reapLater(Env(), pid_); problem != 0) {
      deferred_.Reject(systemError(Env(), problem, "pidfd_open", words_[0]).Value());
    } else {
      deferred_.Resolve(Napi::Number::New(Env(), pid_));
    }
  }

  std::vector<std::string> words_;
  Napi::Promise::Deferred deferred_;
  pid_t pid_ = 0;
  int problem_ = 0;
};

}  // namespace

Napi::Value spawnDetached(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsArray()) {
    Napi::TypeError::New(env, "spawnDetached(file: string, args: string[])").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  std::vector<std::string> words = {info[0].ToString()};
  const auto args = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < args.Length(); ++i) words.push_back(args.Get(i).ToString());
  auto* spawning = new Spawn(env, std::move(words));
  const Napi::Promise promise = spawning->promise();
  spawning->Queue();
  return promise;
}

}  // namespace shoal::host
