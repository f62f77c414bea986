#pragma once

#include <dirent.h>

#include <cstddef>

#include "check.h"

/** A number that grows with every descriptor of this process that is not closed. */
inline size_t openDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  CHECK(folder != nullptr);
  size_t count = 0;
  while (readdir(folder) != nullptr) count += 1;
  closedir(folder);
  return count;
}
