#pragma once

#include <cstddef>
#include <cstdint>

namespace shoal::shim {

/** Bounds of everything that the shim reads, keeps or waits for. */
inline constexpr size_t kIdBytesMax = 128;
inline constexpr uint64_t kLogBytesMin = 4096;
inline constexpr uint64_t kLogBytesMax = uint64_t{1} << 30;
inline constexpr uint64_t kLogFilesMax = 100;
/** A longer line is written in pieces, each with its own prefix. */
inline constexpr size_t kLineBytesMax = 2048;
inline constexpr size_t kPipeReadBytes = 65536;
/** Only the end of crun's log is read for the reason of a failed start. */
inline constexpr size_t kCrunLogBytesMax = 65536;
inline constexpr size_t kDetailBytesMax = 2048;
/** crun that has not started the container by then is killed. */
inline constexpr int kStartMsMax = 60000;
inline constexpr int kDeleteMsMax = 10000;
inline constexpr int kCgroupEmptyMsMax = 10000;
/** Time for reading what is left in the pipes once every process of the cgroup was killed. */
inline constexpr int kDrainMsMax = 2000;
/** How often it is looked whether a lease is over, and the most that its file may hold. */
inline constexpr int kLeaseLookMs = 500;
inline constexpr size_t kLeaseBytesMax = 64;
/** Exits seen before crun told which pid is the container's. */
inline constexpr size_t kEarlyExitsMax = 64;
/** Of one cgroup.procs, when its processes have to be killed one by one. */
inline constexpr size_t kCgroupProcsBytesMax = 1 << 20;

// A line with its prefix must fit into the smallest log file.
static_assert(kLineBytesMax + 64 < kLogBytesMin);

}  // namespace shoal::shim
