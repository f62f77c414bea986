#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "symbols/byte_source.h"
#include "symbols/elf_symbols.h"
#include "symbols/kernel_symbols.h"
#include "symbols/mappings.h"
#include "symbols/perf_map.h"

namespace shoal::symbols {

/** One program in one process: names it for ever. */
struct ProcessKey {
  int pid = 0;
  uint64_t start = 0;
  uint32_t image = 0;
  auto operator<=>(const ProcessKey&) const = default;
};

struct Function {
  std::string name;
  /** The file's own name that holds it; `[kernel]`, `[jit]`. */
  std::string file;
  auto operator<=>(const Function&) const = default;
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
 */
class Symbolizer {
 public:
  /** Forgets, where need be; numbers of functions hold until the next round. */
  void beginRound();
  /** Numbers of functions, leaf first, as the addresses are. */
  void resolveUser(const ProcessKey& key, const unsigned long long* addresses, size_t count,
                   std::vector<uint32_t>& into);
  void resolveKernel(const unsigned long long* addresses, size_t count, std::vector<uint32_t>& into);
  /** What is known of the process's executable memory; `again`: not from an earlier round. Empty when it has ended. */
  const std::vector<Mapping>& mappings(const ProcessKey& key, bool again);
  /** The file behind a mapping of the process; none where there is no file or it is no ELF. */
  std::optional<ElfFile> elf(const ProcessKey& key, const Mapping& mapping);
  const Function& function(uint32_t number) const { return *functions_[number]; }

 private:
  struct File {
    std::unique_ptr<FileSource> source;
    std::optional<ElfSymbols> symbols;
    /** Symbols from elsewhere by build id, when the file has not all itself. */
    std::unique_ptr<FileSource> debugSource;
    std::optional<ElfSymbols> debugSymbols;
    size_t bytes = 0;
    std::list<FileKey>::iterator used;
  };
  struct Process {
    bool read = false;
    std::vector<Mapping> mappings;
    std::unordered_map<uint64_t, uint32_t> known;
    PerfMap perfMap;
    uint64_t perfMapRead = 0;
    uint64_t perfMapRound = 0;
    uint64_t mappingsRound = 0;
    uint64_t usedRound = 0;
  };

  Process& process(const ProcessKey& key);
  void readMappings(const ProcessKey& key, Process& process);
  void readPerfMap(const ProcessKey& key, Process& process);
  uint32_t resolve(const ProcessKey& key, Process& process, uint64_t address);
  uint32_t resolveRuntime(const ProcessKey& key, Process& process, uint64_t address);
  uint32_t resolveInFile(const ProcessKey& key, const Mapping& mapping, uint64_t address);
  File* file(const ProcessKey& key, const Mapping& mapping);
  void findDebugFile(File& file);
  void dropFiles();
  uint32_t number(Function function);

  std::map<ProcessKey, Process> processes_;
  std::map<FileKey, File> files_;
  /** Most recently used first. */
  std::list<FileKey> filesByUse_;
  size_t filesBytes_ = 0;
  std::map<Function, uint32_t> numbers_;
  std::vector<const Function*> functions_;
  std::optional<KernelSymbols> kernel_;
  uint64_t round_ = 0;
};

}  // namespace shoal::symbols
