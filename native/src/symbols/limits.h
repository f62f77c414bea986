#pragma once

#include <cstddef>
#include <cstdint>

/** What is read of files that come from containers, and what is kept of them. */
namespace shoal::symbols {

constexpr uint16_t kElfSegmentsMax = 256;
constexpr uint64_t kElfNoteBytesMax = 4096;
constexpr uint32_t kBuildIdBytesMax = 64;
/** The largest programs there are have about a million functions. */
constexpr uint64_t kElfSymbolsMax = 4'000'000;
/** Functions that may lie around an address and begin before it. */
constexpr size_t kElfNestingMax = 16;
constexpr size_t kSymbolNameBytesMax = 1024;
/** A demangled name is cut there: templates can make one of any length out of a short one. */
constexpr size_t kDemangledBytesMax = 1024;
/** Of a name of Rust: parts within parts, and parts in all, those that are read again by a reference included. */
constexpr size_t kRustDepthMax = 128;
constexpr size_t kRustStepsMax = 10'000;

constexpr size_t kPerfMapLineBytesMax = 1024;
constexpr size_t kPerfMapEntriesMax = 200'000;
/** Read of one map in all; what it says later is not known. */
constexpr uint64_t kPerfMapBytesMax = 64 * 1024 * 1024;

constexpr size_t kMapsBytesMax = 16 * 1024 * 1024;
constexpr size_t kMappingsMax = 16'384;
constexpr size_t kKernelSymbolsMax = 1'000'000;
constexpr size_t kKernelSymbolsBytesMax = 64 * 1024 * 1024;

/** Of one file. Node.js has 2.7 MB and 76,000 functions, the largest browsers five times as many. */
constexpr uint64_t kUnwindSectionBytesMax = 32 * 1024 * 1024;
constexpr size_t kUnwindFunctionsMax = 1'000'000;
constexpr size_t kUnwindRowsMax = 1'000'000;
/** A CIE is read again for each function that has another than the one before. */
constexpr size_t kUnwindCieBytesMax = 1024;
/** Remembered at once by the instructions of a function; compilers remember one. */
constexpr size_t kUnwindStatesMax = 8;

/** Asked of one file at once; as many addresses fit into a pipe without anybody reading it. */
constexpr size_t kInlineAddressesMax = 4096;
/** Inlined into one another at one address. */
constexpr size_t kInlineDepthMax = 64;
constexpr size_t kInlinePathBytesMax = 256;
constexpr size_t kInlineAnswerBytesMax = 8 * 1024 * 1024;
/** Of shoal-inlines, for one file: seconds of CPU, its own memory, and with what it maps of the file. */
constexpr uint64_t kInlineCpuSeconds = 4;
constexpr uint64_t kInlineMemoryBytesMax = 256 * 1024 * 1024;
constexpr uint64_t kInlineAddressSpaceBytesMax = 4ull * 1024 * 1024 * 1024;
constexpr int kInlineWaitMs = 10'000;
/** After as many failures a file is not asked about again. */
constexpr unsigned kInlineFailuresMax = 3;
/** Reading takes one part of as many of the time of all CPUs in the long run, of which as much is saved up at most. */
constexpr int kInlineTimeOneIn = 1000;
constexpr int kInlineSavedSeconds = 10;
/** A file that was read is left alone for as many times as long as it took, and each time for so many times more up to
 * the most: addresses that are new by then are read together. */
constexpr int kInlineRestFirst = 20;
constexpr int kInlineRestGrowth = 4;
constexpr int kInlineRestMost = 4000;
/** No more files are begun in a round that has spent as much. */
constexpr int kInlineRoundMs = 100;
/** A file that a link to separate debug information (.gnu_debuglink) names is read whole for its check sum. */
constexpr uint64_t kDebugLinkBytesMax = 64 * 1024 * 1024;
constexpr size_t kDebugLinkNameBytesMax = 255;

/** Kept at once. */
constexpr size_t kProcessesMax = 2048;
constexpr size_t kFilesMax = 256;
constexpr size_t kFilesBytesMax = 64 * 1024 * 1024;
constexpr size_t kFunctionsMax = 100'000;
constexpr size_t kChainsMax = 200'000;
/** With what is known of them, by process and by file. */
constexpr size_t kAddressesMax = 500'000;

}  // namespace shoal::symbols
