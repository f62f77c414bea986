#include "profiler/unwinder.h"

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <tuple>

#include "common/unique_fd.h"
#include "symbols/eh_frame.h"
#include "symbols/limits.h"

namespace shoal::profiler {
namespace {

constexpr uint64_t kRoundsKept = 60;
/** A process that keeps executing memory without a file, as virtual machines do, is looked at more and more seldom. */
constexpr uint64_t kLookAfterRoundsMax = 64;
/** 32 MiB of the kernel's memory. */
constexpr size_t kRowsMax = 4'000'000;
/** Compiled in one round at most, so that hostile files take a bounded share of a CPU; a larger one alone is let in. */
constexpr uint64_t kBytesPerRound = 8 * 1024 * 1024;
/** Kept of files without a table: enough to say that it is so. */
constexpr size_t kLeftOutMax = 256;
constexpr size_t kLeftOutToldMax = 16;

static_assert(symbols::kUnwindRowsMax < (size_t{1} << SHOAL_UNWIND_ROW_STEPS), "a search finds every row");
static_assert(SHOAL_UNWIND_MAPPINGS_MAX < (1 << SHOAL_UNWIND_MAPPING_STEPS), "a search finds every mapping");
static_assert(sizeof(shoal_unwind_row) == 8, "the kernel holds millions");

}  // namespace

void Unwinder::beginRound() {
  round_ += 1;
  bytesThisRound_ = 0;
  for (auto each = processes_.begin(); each != processes_.end();)
    each = round_ - each->second.usedRound > kRoundsKept ? forget(each) : std::next(each);
}

void Unwinder::see(const symbols::ProcessKey& key) {
  if (maps_.processes < 0) return;
  const auto known = processes_.find(key);
  if (known != processes_.end()) {
    Process& process = known->second;
    const bool isFirst = process.usedRound != round_;
    process.usedRound = round_;
    if (!isFirst) return;
    if (process.isPartial)
      enter(key, process, false);
    else if (round_ >= process.lookRound)
      lookAgain(key, process);
    return;
  }
  if (processes_.size() >= SHOAL_UNWIND_PROCESSES_MAX) {
    forget(std::min_element(processes_.begin(), processes_.end(),
                            [](const auto& a, const auto& b) { return a.second.usedRound < b.second.usedRound; }));
  }
  Process& process = processes_[key];
  process.usedRound = round_;
  enter(key, process, false);
}

/** It may have loaded a library since. */
void Unwinder::lookAgain(const symbols::ProcessKey& key, Process& process) {
  process.lookRound = round_ + process.lookAfterRounds;
  if (!readEntry(key)) return enter(key, process, false);
  if (!isEntryOf(key) || entry_.strange == 0) return;
  process.lookAfterRounds = std::min(process.lookAfterRounds * 2, kLookAfterRoundsMax);
  process.lookRound = round_ + process.lookAfterRounds;
  enter(key, process, true);
}

bool Unwinder::readEntry(const symbols::ProcessKey& key) {
  const auto pid = static_cast<uint32_t>(key.pid);
  return bpf_map_lookup_elem(maps_.processes, &pid, &entry_) == 0;
}

bool Unwinder::isEntryOf(const symbols::ProcessKey& key) const {
  return entry_.start == key.start && entry_.image == key.image;
}

/** Of two programs that had the same pid in turns the later one is there. */
bool Unwinder::isOvertaken(const symbols::ProcessKey& key) {
  return readEntry(key) && std::tie(entry_.start, entry_.image) > std::tie(key.start, key.image);
}

void Unwinder::enter(const symbols::ProcessKey& key, Process& process, bool again) {
  release(process);
  process.isPartial = false;
  if (isOvertaken(key)) return;
  entry_ = {};
  entry_.start = key.start;
  entry_.image = key.image;
  for (const symbols::Mapping& each : symbolizer_.mappings(key, again)) {
    if (entry_.mappings_count == SHOAL_UNWIND_MAPPINGS_MAX) break;
    entry_.mappings[entry_.mappings_count] =
        describe(key, each, process).value_or(shoal_unwind_mapping{each.start, each.end, 0, 0, 0});
    entry_.mappings_count += 1;
  }
  // It has ended, or is about to begin.
  if (entry_.mappings_count == 0) return;
  const auto pid = static_cast<uint32_t>(key.pid);
  if (bpf_map_update_elem(maps_.processes, &pid, &entry_, BPF_ANY) != 0) process.isPartial = true;
}

std::optional<shoal_unwind_mapping> Unwinder::describe(const symbols::ProcessKey& key, const symbols::Mapping& mapping,
                                                       Process& process) {
  if (mapping.inode == 0) return std::nullopt;
  const auto file = symbolizer_.elf(key, mapping);
  if (!file) return std::nullopt;
  const uint64_t fileEnd = mapping.fileOffset + (mapping.end - mapping.start);
  for (const symbols::ElfSegment& segment : file->symbols.segments()) {
    if (segment.offset >= fileEnd || segment.offset + segment.bytes <= mapping.fileOffset) continue;
    const Table* table = tableOf(*file, mapping.path, process);
    if (table == nullptr || table->id == 0) return std::nullopt;
    const uint64_t shift = mapping.start - mapping.fileOffset + segment.offset - segment.address + table->base;
    return shoal_unwind_mapping{mapping.start, mapping.end, shift, table->id, table->rows};
  }
  return std::nullopt;
}

/** Null when it has to wait, or when there is no room. */
Unwinder::Table* Unwinder::tableOf(const symbols::ElfFile& file, const std::string& path, Process& process) {
  auto known = tables_.find(file.key);
  if (known == tables_.end()) {
    const uint64_t bytes = file.symbols.unwindSection().bytes;
    if (bytesThisRound_ > 0 && bytesThisRound_ + bytes > kBytesPerRound) {
      process.isPartial = true;
      return nullptr;
    }
    bytesThisRound_ += std::max<uint64_t>(bytes, 1);
    Table table;
    if (!makeRoom(0)) {
      leaveOut(file.key, path, Reason::kNoRoom);
      return nullptr;
    }
    if (const auto reason = compile(file, table)) {
      leaveOut(file.key, path, *reason);
      table = {};
    } else {
      leftOut_.erase(file.key);
    }
    known = tables_.emplace(file.key, table).first;
  }
  Table& table = known->second;
  table.usedRound = round_;
  if (std::find(process.files.begin(), process.files.end(), file.key) == process.files.end()) {
    table.users += 1;
    process.files.push_back(file.key);
  }
  return &table;
}

void Unwinder::leaveOut(const symbols::FileKey& key, const std::string& path, Reason reason) {
  if (leftOut_.size() >= kLeftOutMax) leftOut_.erase(leftOut_.begin());
  leftOut_[key] = {path.substr(path.rfind('/') + 1), reason};
}

std::vector<Unwinder::LeftOut> Unwinder::leftOut() const {
  std::vector<LeftOut> list;
  std::set<std::string> names;
  for (const auto& [key, each] : leftOut_) {
    if (list.size() < kLeftOutToldMax && names.insert(each.file).second) list.push_back(each);
  }
  return list;
}

/** Why it has no table, if that is not the file's own choice: one that says nothing has a table without id. */
std::optional<Unwinder::Reason> Unwinder::compile(const symbols::ElfFile& file, Table& table) {
  const symbols::ElfSection& section = file.symbols.unwindSection();
  if (section.bytes == 0 || !file.symbols.isForThisMachine()) return std::nullopt;
  if (section.bytes > symbols::kUnwindSectionBytesMax) return Reason::kTooLarge;
  std::string bytes(section.bytes, '\0');
  if (!file.source.read(section.offset, bytes.data(), bytes.size())) return std::nullopt;
  table.base = UINT64_MAX;
  for (const symbols::ElfSegment& each : file.symbols.segments()) table.base = std::min(table.base, each.address);
  const std::vector<shoal_unwind_row> rows = symbols::compileUnwindRows(bytes, section.address, table.base);
  if (rows.empty()) return std::nullopt;
  if (rows.size() > kRowsMax) return Reason::kTooLarge;
  if (makeRoom(rows.size()) && store(rows, table)) return std::nullopt;
  return Reason::kNoRoom;
}

bool Unwinder::store(const std::vector<shoal_unwind_row>& rows, Table& table) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
  const auto count = static_cast<uint32_t>(rows.size());
  const UniqueFd map(
      bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_table", sizeof(uint32_t), sizeof(shoal_unwind_row), count, &options));
  if (!map.valid()) return false;
  const size_t bytes = rows.size() * sizeof(shoal_unwind_row);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  if (memory == MAP_FAILED) return false;
  std::memcpy(memory, rows.data(), bytes);
  munmap(memory, bytes);
  const uint32_t id = lastId_ + 1;
  const int fd = map.get();
  if (bpf_map_update_elem(maps_.tables, &id, &fd, BPF_NOEXIST) != 0) return false;
  lastId_ = id;
  table.id = id;
  table.rows = count;
  rowsKept_ += count;
  return true;
}

/** Tables that nobody uses go, longest unused first. */
bool Unwinder::makeRoom(size_t rows) {
  while (rowsKept_ + rows > kRowsMax || tables_.size() >= SHOAL_UNWIND_TABLES_MAX) {
    auto oldest = tables_.end();
    for (auto each = tables_.begin(); each != tables_.end(); ++each) {
      const bool isOlder = oldest == tables_.end() || each->second.usedRound < oldest->second.usedRound;
      if (each->second.users == 0 && isOlder) oldest = each;
    }
    if (oldest == tables_.end()) return false;
    if (oldest->second.id != 0) bpf_map_delete_elem(maps_.tables, &oldest->second.id);
    rowsKept_ -= oldest->second.rows;
    tables_.erase(oldest);
  }
  return true;
}

void Unwinder::release(Process& process) {
  for (const symbols::FileKey& file : process.files) {
    const auto table = tables_.find(file);
    if (table != tables_.end()) table->second.users -= 1;
  }
  process.files.clear();
}

Unwinder::Processes::iterator Unwinder::forget(Processes::iterator each) {
  const auto pid = static_cast<uint32_t>(each->first.pid);
  // The pid may be another's by now, or the same process may have executed another program.
  if (readEntry(each->first) && isEntryOf(each->first)) bpf_map_delete_elem(maps_.processes, &pid);
  release(each->second);
  return processes_.erase(each);
}

}  // namespace shoal::profiler
