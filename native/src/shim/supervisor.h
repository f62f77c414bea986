#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "shim/arguments.h"
#include "shim/cgroup.h"
#include "shim/limits.h"
#include "shim/line_prefixer.h"
#include "shim/log_file.h"
#include "shim/outcome.h"

namespace shoal::shim {

/**
 * Starts one container by crun, waits for its end, collects its output, and leaves nothing behind but exit.json.
 * One thread; every wait is a poll on signals, on the two pipes and on a deadline.
 */
class Supervisor {
 public:
  explicit Supervisor(Arguments arguments);

  /** Holds the folder's lock and runs the container to its end. Returns the shim's own exit code. */
  int run();

 private:
  /** One output stream of the container. */
  struct Stream {
    Stream(std::string name, int fd) : prefixer(std::move(name)), fd(fd) {}
    LinePrefixer prefixer;
    UniqueFd fd;
  };

  bool prepare(std::string& problem);
  Outcome superviseContainer();
  std::optional<pid_t> startCrun(std::string& problem);
  void cleanUp();
  void deleteContainer();
  void drainStreams();

  /** Waits for the child; nothing when the deadline passed first. Signals and output are served meanwhile. */
  std::optional<int> waitFor(pid_t pid, std::optional<int64_t> deadlineMs);
  /** The same; when the lease is over everything in the cgroup is killed first. */
  std::optional<int> waitUnderLease(pid_t pid, std::optional<int64_t> deadlineMs);
  void serve(int64_t timeoutMs);
  void takeSignals();
  void takeExits();
  void read(Stream& stream);
  void forwardTerm();

  std::string inFolder(const char* name) const { return arguments_.directory + "/" + name; }

  Arguments arguments_;
  Cgroup cgroup_;
  LogFile log_;
  UniqueFd lock_;
  UniqueFd signals_;
  std::vector<Stream> streams_;
  /** Wait statuses of ended children that nobody has asked for yet. */
  std::map<pid_t, int> exits_;
  std::optional<pid_t> containerPid_;
  /** For want of memory, in this cgroup before the container began. */
  MemoryEvents eventsBefore_;
  bool termWanted_ = false;
  bool leaseOver_ = false;
};

}  // namespace shoal::shim
