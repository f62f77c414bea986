#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "symbols/byte_source.h"
#include "symbols/debug_file.h"
#include "symbols/elf_symbols.h"
#include "symbols/frame_table.h"
#include "symbols/inline_reader.h"
#include "symbols/kernel_symbols.h"
#include "symbols/limits.h"
#include "symbols/mappings.h"
#include "symbols/perf_map.h"
#include "symbols/time_budget.h"

namespace shoal::symbols {

/** One program in one process: names it for ever. */
struct ProcessKey {
  int pid = 0;
  uint64_t start = 0;
  uint32_t image = 0;
  auto operator<=>(const ProcessKey&) const = default;
};

/** A version of a file: device, inode, time of its last change in s and ns. */
using FileKey = std::tuple<uint64_t, uint64_t, int64_t, int64_t>;

/** Holds until the next question. */
struct ElfFile {
  FileKey key;
  const ElfSymbols& symbols;
  const ByteSource& source;
};

/**
 * Names for addresses of processes in containers. Not for two threads at once. What it keeps is bounded by limits.h:
 * processes and files that were not asked for longest go first; when there are too many functions all is begun anew.
 *
 *   symbolizer.beginRound();
 *   for (each stack) symbolizer.prepareUser(process, addresses, count);
 *   symbolizer.readInlined();
 *   for (each stack) symbolizer.resolveUser(process, addresses, count, numbers);
 */
class Symbolizer {
 public:
  /** `inlinesProgram`: path of shoal-inlines; empty: inlined functions are not told. */
  explicit Symbolizer(std::string inlinesProgram = "");

  /** Forgets, where need be; numbers of functions hold until the next round. */
  void beginRound();
  /** Notes of which addresses it is not known yet what was inlined there. */
  void prepareUser(const ProcessKey& key, const unsigned long long* addresses, size_t count);
  /** Finds that out, file by file, for so long as limits.h allows; what is left over is for a later round. */
  void readInlined();
  /** Numbers of functions, leaf first, as the addresses are; inlined ones come before the one that they are in. */
  void resolveUser(const ProcessKey& key, const unsigned long long* addresses, size_t count,
                   std::vector<uint32_t>& into);
  void resolveKernel(const unsigned long long* addresses, size_t count, std::vector<uint32_t>& into);
  /** What is known of the process's executable memory; `again`: not from an earlier round. Empty when it has ended. */
  const std::vector<Mapping>& mappings(const ProcessKey& key, bool again);
  /** The file behind a mapping of the process; none where there is no file or it is no ELF. */
  std::optional<ElfFile> elf(const ProcessKey& key, const Mapping& mapping);
  const Function& function(uint32_t number) const { return frames_.function(number); }
  struct InlinesLeftOut {
    std::string file;
    bool isSplit;
    auto operator<=>(const InlinesLeftOut&) const = default;
  };
  /** Files, by their last names, whose debug information could not be read, or is in other files for each unit. */
  std::vector<InlinesLeftOut> inlinesLeftOut() const;
  /** CPU time of the processes that read it. */
  std::chrono::microseconds inlinesSpent() const { return inlineReader_.spent(); }

 private:
  struct File {
    std::unique_ptr<FileSource> source;
    std::optional<ElfSymbols> symbols;
    /** What the file has not itself. */
    std::unique_ptr<DebugFile> debug;
    std::string name;
    /** Those inlined at addresses of the file, innermost first. */
    std::unordered_map<uint64_t, std::vector<uint32_t>> inlined;
    /** Chains of functions by address of the file, for all processes that have it. */
    std::unordered_map<uint64_t, uint32_t> named;
    std::set<uint64_t> wanted;
    unsigned inlineFailures = 0;
    /** CPU time that reading what was inlined has taken. */
    std::chrono::microseconds inlineSpent{};
    std::chrono::steady_clock::time_point inlineRestUntil;
    int inlineRest = kInlineRestFirst;
    bool isSplit = false;
    size_t bytes = 0;
    std::list<FileKey>::iterator used;
  };
  struct Process {
    bool read = false;
    std::vector<Mapping> mappings;
    /** What is behind them, by where they start: opening one takes longer than all else that is done for an address. */
    std::unordered_map<uint64_t, FileKey> files;
    PerfMap perfMap;
    uint64_t perfMapRead = 0;
    uint64_t perfMapRound = 0;
    uint64_t mappingsRound = 0;
    uint64_t usedRound = 0;
  };

  Process& process(const ProcessKey& key);
  void readMappings(const ProcessKey& key, Process& process);
  void readPerfMap(const ProcessKey& key, Process& process);
  /** A chain, as all that follow. */
  uint32_t resolve(const ProcessKey& key, Process& process, uint64_t address);
  uint32_t resolveRuntime(const ProcessKey& key, Process& process, uint64_t address);
  uint32_t resolveInFile(const ProcessKey& key, Process& process, const Mapping& mapping, uint64_t address);
  /** Those inlined at the address of the file; null when that is not known yet. */
  const std::vector<uint32_t>* inlinedAt(File& file, uint64_t address);
  std::string functionAt(const File& file, uint64_t address) const;
  /** The CPU time that it took. */
  std::chrono::microseconds readInlined(File& file);
  File* file(const ProcessKey& key, Process& process, const Mapping& mapping);
  File* keptFile(const FileKey& key);
  void forgetAddresses();
  void dropFiles();

  std::map<ProcessKey, Process> processes_;
  std::map<FileKey, File> files_;
  /** Most recently used first. */
  std::list<FileKey> filesByUse_;
  size_t filesBytes_ = 0;
  FrameTable frames_;
  InlineReader inlineReader_;
  /** Files of this round of which addresses are wanted. */
  std::set<FileKey> asked_;
  TimeBudget inlinesBudget_;
  size_t addressesKept_ = 0;
  std::optional<KernelSymbols> kernel_;
  std::unordered_map<uint64_t, uint32_t> kernelNamed_;
  uint64_t round_ = 0;
};

}  // namespace shoal::symbols
