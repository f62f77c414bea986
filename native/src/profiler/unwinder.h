#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "profiler/unwind.h"
#include "symbols/symbolizer.h"

namespace shoal::profiler {

/** Maps of the kernel that unwind.bpf.h walks by. */
struct UnwindMaps {
  int processes = -1;
  int tables = -1;
};

/**
 * Has the kernel know the tables of the processes of which samples come. A file's table is compiled once and goes when
 * no process has used it for long and its room is needed. Not for two threads at once.
 */
class Unwinder {
 public:
  Unwinder(UnwindMaps maps, symbols::Symbolizer& symbolizer) : maps_(maps), symbolizer_(symbolizer) {}

  /** Forgets processes that were not seen for long. */
  void beginRound();
  /** A sample of the process has come in this round. */
  void see(const symbols::ProcessKey& key);
  /** Why a file has no table though it says how to walk its functions: they are walked by frame pointers. */
  enum class Reason { kTooLarge, kNoRoom };
  struct LeftOut {
    std::string file;
    Reason reason;
  };
  /** Those now, of different names, and no more than some. */
  std::vector<LeftOut> leftOut() const;

 private:
  struct Table {
    /** 0: none, since the file says nothing. */
    uint32_t id = 0;
    uint32_t rows = 0;
    /** What rows count from. */
    uint64_t base = 0;
    uint64_t usedRound = 0;
    size_t users = 0;
  };
  using Tables = std::map<symbols::FileKey, Table>;
  struct Process {
    uint64_t usedRound = 0;
    uint64_t lookRound = 0;
    uint64_t lookAfterRounds = 1;
    /** Some of its files could not be compiled yet. */
    bool isPartial = false;
    std::vector<symbols::FileKey> files;
  };
  using Processes = std::map<symbols::ProcessKey, Process>;

  void enter(const symbols::ProcessKey& key, Process& process, bool again);
  /** What the kernel knows of the pid, into entry_. */
  bool readEntry(const symbols::ProcessKey& key);
  bool isEntryOf(const symbols::ProcessKey& key) const;
  bool isOvertaken(const symbols::ProcessKey& key);
  void lookAgain(const symbols::ProcessKey& key, Process& process);
  std::optional<shoal_unwind_mapping> describe(const symbols::ProcessKey& key, const symbols::Mapping& mapping,
                                               Process& process);
  Table* tableOf(const symbols::ElfFile& file, const std::string& path, Process& process);
  std::optional<Reason> compile(const symbols::ElfFile& file, Table& table);
  void leaveOut(const symbols::FileKey& key, const std::string& path, Reason reason);
  bool store(const std::vector<shoal_unwind_row>& rows, Table& table);
  bool makeRoom(size_t rows);
  void release(Process& process);
  Processes::iterator forget(Processes::iterator process);

  UnwindMaps maps_;
  /** Too large for a stack. */
  shoal_unwind_process entry_ = {};
  symbols::Symbolizer& symbolizer_;
  Processes processes_;
  Tables tables_;
  size_t rowsKept_ = 0;
  uint64_t bytesThisRound_ = 0;
  uint32_t lastId_ = 0;
  std::map<symbols::FileKey, LeftOut> leftOut_;
  uint64_t round_ = 0;
};

}  // namespace shoal::profiler
