#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "symbols/byte_source.h"

namespace shoal::symbols {

/** A place of an ELF file that is loaded to be executed. */
struct ElfSegment {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t address = 0;
};

/** A function of an ELF file. */
struct ElfFunction {
  uint64_t address = 0;
  /** 0 where the file does not say: then it ends where the next one begins. */
  uint32_t bytes = 0;
  /** Place of its name in the table of names. */
  uint32_t name = 0;
};

/** A section of an ELF file: where it is in the file, and where in memory. */
struct ElfSection {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t address = 0;
};

/** A file beside the ELF file that has its debug information: its name and its check sum (.gnu_debuglink). */
struct DebugLink {
  /** Without any folder; empty where there is none. */
  std::string name;
  uint32_t crc = 0;
};

/**
 * The functions of a 64-bit little-endian ELF file (System V ABI, chapter 4 and 5), from .symtab or else .dynsym. The
 * file comes from a container and may hold anything: every place in it is checked and every amount bounded.
 */
class ElfSymbols {
 public:
  /** Nothing when it is no such file. One without symbols has segments and a build id. */
  static std::optional<ElfSymbols> read(const ByteSource& source);

  /** Where the byte at this place of the file is in memory, before relocation. */
  std::optional<uint64_t> addressOf(uint64_t fileOffset) const;
  const ElfFunction* find(uint64_t address) const;
  /** Empty when the file no longer holds it. `source` as given to read(). */
  std::string nameOf(const ByteSource& source, const ElfFunction& function) const;

  /** Bytes of the GNU build id; empty without one. */
  const std::string& buildId() const { return buildId_; }
  /** Whether its code is for the kind of machine that this is built for. */
  bool isForThisMachine() const { return forThisMachine_; }
  /** Whether the full table, .symtab, was there. */
  bool isComplete() const { return complete_; }
  const std::vector<ElfSegment>& segments() const { return segments_; }
  const std::vector<ElfFunction>& functions() const { return functions_; }
  /** .eh_frame; of no bytes without one. */
  const ElfSection& unwindSection() const { return unwind_; }
  /** Whether there is DWARF debug information, .debug_info. */
  bool hasDebugInfo() const { return hasDebugInfo_; }
  const DebugLink& debugLink() const { return debugLink_; }
  /** Memory that this takes. */
  size_t bytes() const { return functions_.capacity() * sizeof(ElfFunction) + sizeof *this; }

 private:
  bool readSegments(const ByteSource& source, uint64_t offset, uint16_t count);
  void readSections(const ByteSource& source, uint64_t offset, uint16_t count, uint16_t names);
  void readNote(const ByteSource& source, uint64_t offset, uint64_t bytes);
  void readDebugLink(const ByteSource& source, uint64_t offset, uint64_t bytes);
  bool readFunctions(const ByteSource& source, uint64_t offset, uint64_t bytes);

  std::vector<ElfSegment> segments_;
  std::vector<ElfFunction> functions_;
  std::string buildId_;
  uint64_t namesOffset_ = 0;
  uint64_t namesBytes_ = 0;
  ElfSection unwind_;
  DebugLink debugLink_;
  bool hasDebugInfo_ = false;
  bool complete_ = false;
  bool forThisMachine_ = false;
};

}  // namespace shoal::symbols
