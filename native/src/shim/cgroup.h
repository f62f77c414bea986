#pragma once

#include <string>

#include "common/unique_fd.h"
#include "shim/outcome.h"

namespace shoal::shim {

/** The instance's cgroup v2 folder. Errors are errno values, 0 for success. */
class Cgroup {
 public:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}

  /** Makes the folder unless it is there, and opens it. */
  int open();
  /** The open folder, for CLONE_INTO_CGROUP; -1 before open(). */
  int fd() const { return folder_.get(); }
  /** Puts the calling process inside. Async-signal-safe, for use between fork and exec. */
  int enter() const;
  /** Kills every process of the subtree. */
  int kill() const;
  /** Whether no process is left in the subtree; true as well when the cgroup is gone. */
  bool isEmpty() const;
  /** All zero where the host has no memory controller. */
  MemoryEvents memoryEvents() const;
  /** Removes the folder and those that the instance made below it. */
  int remove() const;

 private:
  std::string path_;
  UniqueFd folder_;
};

}  // namespace shoal::shim
