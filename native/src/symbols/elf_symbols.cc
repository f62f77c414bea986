#include "symbols/elf_symbols.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

constexpr size_t kSymbolsAtOnce = 8192;
/** Of the longest that is looked for, and a byte by which a longer one is known. */
constexpr size_t kSectionNameBytes = sizeof ".gnu_debuglink" + 1;
constexpr char kGnu[] = "GNU";
#if defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_X86_64;
#endif

uint64_t aligned(uint64_t value) { return (value + 3) & ~uint64_t{3}; }

bool isFunction(const Elf64_Sym& symbol) {
  const unsigned type = ELF64_ST_TYPE(symbol.st_info);
  return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol.st_shndx != SHN_UNDEF && symbol.st_value != 0;
}

}  // namespace

std::optional<ElfSymbols> ElfSymbols::read(const ByteSource& source) {
  Elf64_Ehdr header = {};
  if (!source.read(0, &header, sizeof header)) return std::nullopt;
  const bool known = std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64 &&
                     header.e_ident[EI_DATA] == ELFDATA2LSB;
  if (!known || header.e_phentsize != sizeof(Elf64_Phdr)) return std::nullopt;
  ElfSymbols symbols;
  symbols.forThisMachine_ = header.e_machine == kMachine;
  if (!symbols.readSegments(source, header.e_phoff, header.e_phnum)) return std::nullopt;
  if (header.e_shentsize == sizeof(Elf64_Shdr))
    symbols.readSections(source, header.e_shoff, header.e_shnum, header.e_shstrndx);
  return symbols;
}

bool ElfSymbols::readSegments(const ByteSource& source, uint64_t offset, uint16_t count) {
  if (count > kElfSegmentsMax) return false;
  std::vector<Elf64_Phdr> headers(count);
  if (!source.read(offset, headers.data(), headers.size() * sizeof(Elf64_Phdr))) return false;
  for (const Elf64_Phdr& each : headers) {
    if (each.p_type == PT_LOAD && (each.p_flags & PF_X) != 0)
      segments_.push_back({each.p_offset, each.p_filesz, each.p_vaddr});
    if (each.p_type == PT_NOTE && buildId_.empty()) readNote(source, each.p_offset, each.p_filesz);
  }
  return true;
}

void ElfSymbols::readNote(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string notes(std::min<uint64_t>(bytes, kElfNoteBytesMax), '\0');
  if (!source.read(offset, notes.data(), notes.size())) return;
  for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
    Elf64_Nhdr note;
    std::memcpy(&note, notes.data() + at, sizeof note);
    const uint64_t name = at + sizeof note;
    const uint64_t content = name + aligned(note.n_namesz);
    const uint64_t end = content + aligned(note.n_descsz);
    if (content > notes.size() || end > notes.size()) return;
    const bool isBuildId = note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof kGnu &&
                           std::memcmp(notes.data() + name, kGnu, sizeof kGnu) == 0;
    if (isBuildId && note.n_descsz <= kBuildIdBytesMax) {
      buildId_ = notes.substr(content, note.n_descsz);
      return;
    }
    at = end;
  }
}

void ElfSymbols::readSections(const ByteSource& source, uint64_t offset, uint16_t count, uint16_t names) {
  std::vector<Elf64_Shdr> headers(count);
  if (!source.read(offset, headers.data(), headers.size() * sizeof(Elf64_Shdr))) return;
  for (const uint32_t wanted : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (const Elf64_Shdr& each : headers) {
      if (each.sh_type != wanted || each.sh_link >= headers.size() || complete_ || !functions_.empty()) continue;
      namesOffset_ = headers[each.sh_link].sh_offset;
      namesBytes_ = headers[each.sh_link].sh_size;
      complete_ = readFunctions(source, each.sh_offset, each.sh_size) && wanted == SHT_SYMTAB;
    }
  }
  for (const Elf64_Shdr& each : headers) {
    char name[kSectionNameBytes] = {};
    if (names >= headers.size() || each.sh_name >= headers[names].sh_size || each.sh_type == SHT_NOBITS) continue;
    const uint64_t bytes = std::min<uint64_t>(headers[names].sh_size - each.sh_name, sizeof name - 1);
    if (!source.read(headers[names].sh_offset + each.sh_name, name, bytes)) continue;
    const std::string_view text(name);
    if (text == ".eh_frame") unwind_ = {each.sh_offset, each.sh_size, each.sh_addr};
    if (text == ".debug_info" || text == ".zdebug_info") hasDebugInfo_ = each.sh_size > 0;
    if (text == ".gnu_debuglink") readDebugLink(source, each.sh_offset, each.sh_size);
  }
}

/** A name, zeros up to a multiple of 4 bytes, and the check sum (the manual of GDB, "Separate Debug Files"). */
void ElfSymbols::readDebugLink(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string content(std::min<uint64_t>(bytes, kDebugLinkNameBytesMax + 8), '\0');
  if (!source.read(offset, content.data(), content.size())) return;
  const std::string name = content.substr(0, strnlen(content.data(), content.size()));
  const uint64_t crc = aligned(name.size() + 1);
  if (crc + sizeof debugLink_.crc > content.size() || name.find('/') != std::string::npos) return;
  debugLink_.name = name;
  std::memcpy(&debugLink_.crc, content.data() + crc, sizeof debugLink_.crc);
}

bool ElfSymbols::readFunctions(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  const uint64_t count = std::min<uint64_t>(bytes / sizeof(Elf64_Sym), kElfSymbolsMax);
  std::vector<ElfFunction> locals;
  std::vector<Elf64_Sym> some(kSymbolsAtOnce);
  for (uint64_t at = 0; at < count; at += some.size()) {
    some.resize(std::min<uint64_t>(kSymbolsAtOnce, count - at));
    if (!source.read(offset + at * sizeof(Elf64_Sym), some.data(), some.size() * sizeof(Elf64_Sym))) break;
    for (const Elf64_Sym& each : some) {
      if (!isFunction(each)) continue;
      const auto size = static_cast<uint32_t>(std::min<uint64_t>(each.st_size, UINT32_MAX));
      (ELF64_ST_BIND(each.st_info) == STB_LOCAL ? locals : functions_).push_back({each.st_value, size, each.st_name});
    }
  }
  // Of several names for one place the first in the file's own order is taken, so that it is always the same; one that
  // others link by before one that only the file itself knows: clone, not __GI___clone.
  functions_.insert(functions_.end(), locals.begin(), locals.end());
  std::stable_sort(functions_.begin(), functions_.end(),
                   [](const ElfFunction& a, const ElfFunction& b) { return a.address < b.address; });
  const auto last = std::unique(functions_.begin(), functions_.end(), [](const ElfFunction& a, const ElfFunction& b) {
    return a.address == b.address && a.bytes == b.bytes;
  });
  functions_.erase(last, functions_.end());
  functions_.shrink_to_fit();
  return !functions_.empty();
}

std::optional<uint64_t> ElfSymbols::addressOf(uint64_t fileOffset) const {
  for (const ElfSegment& each : segments_) {
    if (fileOffset >= each.offset && fileOffset - each.offset < each.bytes)
      return each.address + (fileOffset - each.offset);
  }
  return std::nullopt;
}

const ElfFunction* ElfSymbols::find(uint64_t address) const {
  const auto after = std::upper_bound(functions_.begin(), functions_.end(), address,
                                      [](uint64_t wanted, const ElfFunction& each) { return wanted < each.address; });
  // Functions may lie within one another; of those that hold the address the innermost is nearest before it.
  auto each = after;
  for (size_t looked = 0; each != functions_.begin() && looked < kElfNestingMax; looked += 1) {
    --each;
    if (each->bytes == 0 ? each + 1 == after : address - each->address < each->bytes) return &*each;
  }
  return nullptr;
}

std::string ElfSymbols::nameOf(const ByteSource& source, const ElfFunction& function) const {
  if (function.name >= namesBytes_) return "";
  std::string name(std::min<uint64_t>(kSymbolNameBytesMax, namesBytes_ - function.name), '\0');
  if (!source.read(namesOffset_ + function.name, name.data(), name.size())) return "";
  name.resize(strnlen(name.data(), name.size()));
  return name;
}

}  // namespace shoal::symbols
