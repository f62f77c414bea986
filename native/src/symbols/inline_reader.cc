#include "symbols/inline_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "common/unique_fd.h"
#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

/** Out of the way of the descriptors that the new process is given. */
UniqueFd highCopy(int fd) {
  static constexpr int kAboveThose = 10;
  return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, kAboveThose));
}

bool open(Pipe& pipe) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  const UniqueFd first(ends[0]);
  const UniqueFd second(ends[1]);
  pipe.read = highCopy(first.get());
  pipe.write = highCopy(second.get());
  return pipe.read.valid() && pipe.write.valid();
}

/** A process that is killed, unless it has ended, and waited for. */
class Child {
 public:
  /** The file is its descriptor 3. 0, or the number of the error. */
  int start(const std::string& program, const Pipe& request, const Pipe& answer, int file) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, request.read.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, answer.write.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (file >= 0) posix_spawn_file_actions_adddup2(&actions, file, STDERR_FILENO + 1);
    // Signals that this thread blocks, or the agent ignores, are as usual there.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char* arguments[] = {const_cast<char*>(program.c_str()), nullptr};
    char* environment[] = {nullptr};
    const int problem = posix_spawn(&pid_, program.c_str(), &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (problem != 0) pid_ = -1;
    return problem;
  }
  ~Child() { end(); }

  /** With which status it has ended by itself in so many ms. */
  std::optional<int> end(int waitMs = 0) {
    if (pid_ < 0) return std::nullopt;
    const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    pollfd poll = {process.get(), POLLIN, 0};
    if (!process.valid() || ::poll(&poll, 1, waitMs) <= 0) kill(pid_, SIGKILL);
    int status = 0;
    pid_t ended = -1;
    do ended = wait4(pid_, &status, 0, &usage_);
    while (ended < 0 && errno == EINTR);
    pid_ = -1;
    if (ended <= 0 || !WIFEXITED(status)) return std::nullopt;
    return WEXITSTATUS(status);
  }

  /** CPU time, once it has ended. */
  std::chrono::microseconds spent() const {
    const auto of = [](const timeval& time) {
      return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    };
    return of(usage_.ru_utime) + of(usage_.ru_stime);
  }

 private:
  rusage usage_ = {};
  pid_t pid_ = -1;
};

int msUntil(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<int64_t>(left, 0));
}

/** Up to its end; false when it is too long or does not come in time. */
bool readAll(int fd, Clock::time_point deadline, std::string& text) {
  char some[16384];
  while (text.size() <= kInlineAnswerBytesMax) {
    pollfd poll = {fd, POLLIN, 0};
    const int ready = ::poll(&poll, 1, msUntil(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t got = ::read(fd, some, sizeof some);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return true;
    text.append(some, static_cast<size_t>(got));
  }
  return false;
}

struct Outcome {
  std::string answer;
  /** None: it did not end by itself, in time. */
  std::optional<int> status;
  std::chrono::microseconds spent{};
};

/** An error's number, or 0. */
int run(const std::string& program, int file, const std::vector<uint64_t>& addresses, Outcome& outcome) {
  Pipe request;
  Pipe reply;
  if (!open(request) || !open(reply)) return errno;
  // It is in the pipe before anybody reads: nobody has to be waited for, and no signal comes of a closed pipe.
  if (fcntl(request.write.get(), F_SETFL, O_NONBLOCK) != 0) return errno;
  const size_t bytes = addresses.size() * sizeof(uint64_t);
  if (bytes > 0 && write(request.write.get(), addresses.data(), bytes) != static_cast<ssize_t>(bytes)) return EIO;
  request.write.reset();
  const UniqueFd high = file < 0 ? UniqueFd() : highCopy(file);
  if (file >= 0 && !high.valid()) return errno;
  Child child;
  if (const int problem = child.start(program, request, reply, high.get())) return problem;
  request.read.reset();
  reply.write.reset();
  const auto deadline = Clock::now() + std::chrono::milliseconds(kInlineWaitMs);
  const bool whole = readAll(reply.read.get(), deadline, outcome.answer);
  // Who has closed the pipe may still run on.
  const std::optional<int> status = child.end(whole ? msUntil(deadline) : 0);
  if (whole) outcome.status = status;
  outcome.spent = child.spent();
  return 0;
}

}  // namespace

std::string InlineReader::problem() const {
  Outcome outcome;
  if (const int problem = run(program_, -1, {}, outcome)) return program_ + ": " + std::strerror(problem);
  return outcome.status == 0 ? "" : program_ + " does not start, as where libdw is not installed";
}

std::optional<InlineReader::Answer> InlineReader::read(int file, const std::vector<uint64_t>& addresses) {
  assert(addresses.size() <= kInlineAddressesMax);
  Outcome outcome;
  const int problem = run(program_, file, addresses, outcome);
  spent_ += outcome.spent;
  const bool isSplit = outcome.status == kInlinesSplitStatus;
  if (problem != 0 || (outcome.status != 0 && !isSplit)) return std::nullopt;
  auto inlined = parseInlined(outcome.answer, addresses.size());
  if (!inlined) return std::nullopt;
  return Answer{*std::move(inlined), isSplit};
}

}  // namespace shoal::symbols
