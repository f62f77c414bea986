/** ELF files, perf maps and names as a hostile container could make them: read or refused, in bounded time and memory.
 */
#include <cstdint>
#include <string_view>

#include "memory_source.h"
#include "symbols/demangle.h"
#include "symbols/eh_frame.h"
#include "symbols/elf_symbols.h"
#include "symbols/inline_answer.h"
#include "symbols/kernel_symbols.h"
#include "symbols/limits.h"
#include "symbols/mappings.h"
#include "symbols/perf_map.h"

using namespace shoal::symbols;

namespace {

void ehFrame(std::string_view bytes, uint64_t address, uint64_t base) {
  const auto rows = compileUnwindRows(bytes, address, base);
  if (rows.size() > kUnwindRowsMax) __builtin_trap();
  for (size_t i = 1; i < rows.size(); i += 1) {
    if (rows[i - 1].address >= rows[i].address) __builtin_trap();
  }
}

void elf(std::string_view bytes) {
  const MemorySource source(bytes);
  const auto symbols = ElfSymbols::read(source);
  if (!symbols) return;
  for (const ElfFunction& each : symbols->functions()) {
    if (symbols->find(each.address) == nullptr && each.bytes > 0) __builtin_trap();
    if (symbols->nameOf(source, each).size() > kSymbolNameBytesMax) __builtin_trap();
  }
  if (symbols->debugLink().name.find('/') != std::string::npos) __builtin_trap();
  const ElfSection& unwind = symbols->unwindSection();
  if (unwind.offset < bytes.size()) ehFrame(bytes.substr(unwind.offset, unwind.bytes), unwind.address, 0);
  for (const ElfSegment& each : symbols->segments()) {
    if (each.bytes > 0 && !symbols->addressOf(each.offset)) __builtin_trap();
  }
}

void perfMap(std::string_view bytes) {
  PerfMap map;
  const size_t half = bytes.size() / 2;
  map.add(bytes.substr(0, half));
  map.add(bytes.substr(half));
  for (uint64_t address = 0; address < 64; address += 1) map.find(address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      elf(bytes);
      break;
    case 1:
      perfMap(bytes);
      break;
    case 2:
      findMapping(parseMappings(bytes), 0x1000);
      break;
    case 3:
      KernelSymbols::parse(bytes).find(0x1000);
      break;
    case 4:
      ehFrame(bytes, 0x1000, 0);
      break;
    case 5:
      if (demangle("_R" + std::string(bytes.substr(0, kSymbolNameBytesMax))).size() > kSymbolNameBytesMax + 5)
        __builtin_trap();
      break;
    case 6:
      parseInlined(bytes, bytes.size() % 64);
      break;
    default:
      demangle("_Z" + std::string(bytes.substr(0, kSymbolNameBytesMax)));
  }
  return 0;
}
