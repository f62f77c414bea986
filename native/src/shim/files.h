#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::shim {

/** The last `bytesMax` bytes of the file; nothing when it cannot be read. */
std::optional<std::string> readTail(const std::string& path, size_t bytesMax);

/**
 * Writes the whole file at once: a reader sees the old content or the new. No disk is waited for: what is said of a
 * process means nothing once the host has gone down. Returns 0 or an errno.
 */
int writeWhole(const std::string& path, std::string_view content);

/** Writes to an existing file such as a cgroup's. Returns 0 or an errno. */
int writeExisting(const std::string& path, std::string_view content);

/** Makes the folder and those above it that are missing. Returns 0 or an errno. */
int makeFolders(const std::string& path);

/** Removes the tree without leaving its file system or following links; what cannot be removed stays. */
void removeTree(const std::string& path);

/** The pid in the file that crun writes; nothing when it is not a positive number. */
std::optional<int> readPid(const std::string& path);

}  // namespace shoal::shim
