#include "shim/supervisor.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "common/boot_clock.h"
#include "shim/files.h"
#include "shim/lease.h"

namespace shoal::shim {
namespace {

int64_t monotonicMs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

int64_t unixMicros() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

std::string describe(const std::string& what, int problem) { return what + ": " + std::strerror(problem); }

/** Forks straight into the cgroup (Linux 5.7), so that no process of the instance is ever outside of it. */
pid_t forkInto(const Cgroup& cgroup, bool& inside) {
  clone_args request = {};
  request.flags = CLONE_INTO_CGROUP;
  request.exit_signal = SIGCHLD;
  request.cgroup = static_cast<uint64_t>(cgroup.fd());
  const long pid = syscall(SYS_clone3, &request, sizeof request);
  if (pid >= 0) {
    inside = true;
    return static_cast<pid_t>(pid);
  }
  inside = false;
  return fork();
}

/** Exit codes between fork and exec; crun itself uses small ones. */
constexpr int kCannotEnterCgroup = 125;
constexpr int kCannotExecute = 126;

[[noreturn]] void becomeCrun(const std::vector<std::string>& words, int out, int err) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // Without its shim a half-started container has nobody to wait for it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(kCannotExecute);
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  execv(pointers[0], pointers.data());
  _exit(kCannotExecute);
}

}  // namespace

Supervisor::Supervisor(Arguments arguments)
    : arguments_(std::move(arguments)),
      cgroup_(arguments_.cgroup),
      log_(arguments_.directory + "/log", arguments_.logBytes, arguments_.logFiles) {}

int Supervisor::run() {
  std::string problem;
  if (!prepare(problem)) {
    std::fprintf(stderr, "shoal-shim: %s\n", problem.c_str());
    return 1;
  }
  Outcome outcome = superviseContainer();
  // Asked before the cgroup goes.
  const MemoryEvents events = cgroup_.memoryEvents();
  const MemoryEvents since = {events.atLimit - std::min(events.atLimit, eventsBefore_.atLimit),
                              events.kills - std::min(events.kills, eventsBefore_.kills)};
  if (outcome.detail.empty()) outcome.detail = memoryDetail(outcome, since);
  if (leaseOver_) outcome.detail = "its lease is over: this host could not reach the coordinator that leads";
  cleanUp();
  // Last of all: who sees exit.json may rely on everything else being gone.
  if (const int failed = writeWhole(inFolder("exit.json"), toJson(outcome)); failed != 0) {
    std::fprintf(stderr, "shoal-shim: %s\n", describe("cannot write exit.json", failed).c_str());
    return 1;
  }
  return 0;
}

bool Supervisor::prepare(std::string& problem) {
  setsid();
  prctl(PR_SET_NAME, "shoal-shim");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    problem = describe("cannot become the subreaper", errno);
    return false;
  }
  lock_.reset(open(inFolder("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.valid() || flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    problem = describe("cannot lock " + inFolder("lock"), errno);
    return false;
  }
  if (const int failed = writeWhole(inFolder("shim.pid"), std::to_string(getpid()) + "\n"); failed != 0) {
    problem = describe("cannot write shim.pid", failed);
    return false;
  }
  sigset_t watched;
  sigemptyset(&watched);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&watched, signal);
  sigprocmask(SIG_BLOCK, &watched, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_.reset(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) {
    problem = describe("signalfd", errno);
    return false;
  }
  return true;
}

Outcome Supervisor::superviseContainer() {
  if (const int failed = cgroup_.open(); failed != 0) {
    return startFailed(describe("cannot make the cgroup " + arguments_.cgroup, failed));
  }
  // One that is still there from the process before has counted that one's.
  eventsBefore_ = cgroup_.memoryEvents();
  std::string problem;
  const std::optional<pid_t> crun = startCrun(problem);
  if (!crun) return startFailed(problem);

  std::optional<int> status = waitUnderLease(*crun, monotonicMs() + kStartMsMax);
  if (!status) {
    cgroup_.kill();
    waitFor(*crun, std::nullopt);
    return startFailed("crun did not start the container within " + std::to_string(kStartMsMax / 1000) + " s");
  }
  if (*status != 0) {
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == kCannotEnterCgroup) {
      return startFailed("cannot enter the cgroup " + arguments_.cgroup);
    }
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == kCannotExecute) {
      return startFailed("cannot execute " + arguments_.crun);
    }
    const std::string said = crunMessage(readTail(inFolder("crun.log"), kCrunLogBytesMax).value_or(""));
    return startFailed(describeCrunStatus(*status) + (said.empty() ? "" : ": " + said));
  }
  containerPid_ = readPid(inFolder("pid"));
  if (!containerPid_) return startFailed("crun wrote no pid");
  if (termWanted_) forwardTerm();
  status = waitUnderLease(*containerPid_, std::nullopt);
  containerPid_.reset();
  return outcomeOfStatus(status.value_or(0));
}

std::optional<pid_t> Supervisor::startCrun(std::string& problem) {
  int out[2];
  int err[2];
  if (pipe2(out, O_CLOEXEC) != 0) {
    problem = describe("pipe2", errno);
    return std::nullopt;
  }
  streams_.emplace_back("stdout", out[0]);
  const UniqueFd outEnd(out[1]);
  if (pipe2(err, O_CLOEXEC) != 0) {
    problem = describe("pipe2", errno);
    return std::nullopt;
  }
  streams_.emplace_back("stderr", err[0]);
  const UniqueFd errEnd(err[1]);
  for (const Stream& stream : streams_) fcntl(stream.fd.get(), F_SETFL, O_NONBLOCK);

  unlink(inFolder("pid").c_str());
  unlink(inFolder("crun.log").c_str());
  const std::vector<std::string> words = {arguments_.crun,
                                          "--root",
                                          arguments_.crunRoot,
                                          "--cgroup-manager=disabled",
                                          "--log",
                                          inFolder("crun.log"),
                                          "--log-format",
                                          "json",
                                          "run",
                                          "--detach",
                                          "--pid-file",
                                          inFolder("pid"),
                                          "--bundle",
                                          inFolder("bundle"),
                                          arguments_.id};
  bool inside = false;
  const pid_t pid = forkInto(cgroup_, inside);
  if (pid < 0) {
    problem = describe("fork", errno);
    return std::nullopt;
  }
  if (pid == 0) {
    if (!inside && cgroup_.enter() != 0) _exit(kCannotEnterCgroup);
    becomeCrun(words, outEnd.get(), errEnd.get());
  }
  return pid;
}

void Supervisor::cleanUp() {
  const int64_t deadline = monotonicMs() + kCgroupEmptyMsMax;
  cgroup_.kill();
  while (!cgroup_.isEmpty() && monotonicMs() < deadline) {
    serve(10);
    cgroup_.kill();
  }
  deleteContainer();
  drainStreams();
  // The kernel lets go of a dead process's cgroup a moment after its exit was seen.
  while (cgroup_.remove() == EBUSY && monotonicMs() < deadline) serve(5);
}

void Supervisor::deleteContainer() {
  const pid_t pid = fork();
  if (pid == 0) {
    const UniqueFd null(open("/dev/null", O_WRONLY | O_CLOEXEC));
    becomeCrun({arguments_.crun, "--root", arguments_.crunRoot, "--cgroup-manager=disabled", "delete", "--force",
                arguments_.id},
               null.get(), null.get());
  }
  if (pid > 0 && !waitFor(pid, monotonicMs() + kDeleteMsMax)) {
    ::kill(pid, SIGKILL);
    waitFor(pid, std::nullopt);
  }
  // A crun that was killed half-way leaves a folder that it does not take for a container.
  removeTree(arguments_.crunRoot + "/" + arguments_.id);
}

void Supervisor::drainStreams() {
  const int64_t deadline = monotonicMs() + kDrainMsMax;
  const auto anyOpen = [&] {
    for (const Stream& stream : streams_)
      if (stream.fd.valid()) return true;
    return false;
  };
  while (anyOpen() && monotonicMs() < deadline) serve(deadline - monotonicMs());
  std::string lines;
  for (Stream& stream : streams_) stream.prefixer.finish(unixMicros(), lines);
  log_.append(lines);
}

std::optional<int> Supervisor::waitFor(pid_t pid, std::optional<int64_t> deadlineMs) {
  while (true) {
    takeExits();
    if (const auto found = exits_.find(pid); found != exits_.end()) {
      const int status = found->second;
      exits_.erase(found);
      return status;
    }
    // A process that is not ours to wait for is gone for us, for example when its parent did not end as expected.
    if (::kill(pid, 0) != 0 && errno == ESRCH) return 0;
    if (deadlineMs && monotonicMs() >= *deadlineMs) return std::nullopt;
    serve(deadlineMs ? *deadlineMs - monotonicMs() : -1);
  }
}

std::optional<int> Supervisor::waitUnderLease(pid_t pid, std::optional<int64_t> deadlineMs) {
  if (arguments_.lease.empty()) return waitFor(pid, deadlineMs);
  while (true) {
    if (leaseIsOver(readTail(arguments_.lease, kLeaseBytesMax), bootMs())) {
      leaseOver_ = true;
      // Again and again: a process may be on its way into the cgroup.
      cgroup_.kill();
    }
    const int64_t lookMs = monotonicMs() + kLeaseLookMs;
    const int64_t untilMs = deadlineMs ? std::min(lookMs, *deadlineMs) : lookMs;
    if (const std::optional<int> status = waitFor(pid, untilMs)) return status;
    if (deadlineMs && monotonicMs() >= *deadlineMs) return std::nullopt;
  }
}

void Supervisor::serve(int64_t timeoutMs) {
  std::vector<pollfd> waits = {{signals_.get(), POLLIN, 0}};
  // poll ignores negative descriptors, so a closed stream keeps its place.
  for (const Stream& stream : streams_) waits.push_back({stream.fd.get(), POLLIN, 0});
  const int ready = poll(waits.data(), waits.size(), timeoutMs < 0 ? -1 : static_cast<int>(timeoutMs));
  if (ready <= 0) return;
  for (size_t i = 0; i < streams_.size(); i++) {
    if (waits[i + 1].revents != 0) read(streams_[i]);
  }
  if (waits[0].revents != 0) takeSignals();
}

void Supervisor::takeSignals() {
  signalfd_siginfo info = {};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT) continue;
    termWanted_ = true;
    forwardTerm();
  }
  takeExits();
}

void Supervisor::takeExits() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    // Orphans of the container land here too; nobody asks for them.
    if (exits_.size() >= kEarlyExitsMax && pid != containerPid_) exits_.erase(exits_.begin());
    exits_[pid] = status;
  }
}

void Supervisor::forwardTerm() {
  // Not reaped yet, hence the pid is still this process: only this thread reaps.
  if (containerPid_ && !exits_.contains(*containerPid_)) ::kill(*containerPid_, arguments_.stopSignal);
}

void Supervisor::read(Stream& stream) {
  char buffer[kPipeReadBytes];
  const ssize_t count = ::read(stream.fd.get(), buffer, sizeof buffer);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    stream.fd.reset();
    return;
  }
  std::string lines;
  stream.prefixer.append({buffer, static_cast<size_t>(count)}, unixMicros(), lines);
  log_.append(lines);
}

}  // namespace shoal::shim
