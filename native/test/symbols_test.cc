/** Names of functions: from ELF files, perf maps and the kernel's list, and out of mangled ones. */
#include <fcntl.h>

#include <cstdio>
#include <string>

#include "check.h"
#include "memory_source.h"
#include "symbols/demangle.h"
#include "symbols/elf_symbols.h"
#include "symbols/kernel_symbols.h"
#include "symbols/limits.h"
#include "symbols/mappings.h"
#include "symbols/perf_map.h"
#include "symbols/process_files.h"
#include "symbols/symbolizer.h"

using namespace shoal::symbols;

extern "C" __attribute__((noinline)) int knownFunction(int value) { return value * 3; }

namespace {

void perfMapHoldsWhatCameLast() {
  PerfMap map;
  map.add("1000 100 JS:*work /app/x.js:3:7\n2000 10 plain na");
  CHECK(map.find(0x10ff) != nullptr && *map.find(0x10ff) == "work /app/x.js:3");
  CHECK(map.find(0x1100) == nullptr && map.find(0xfff) == nullptr);
  CHECK(map.find(0x2000) == nullptr);
  map.add("me\n");
  CHECK(*map.find(0x200f) == "plain name");
  map.add("10f0 20 JS:^later /app/y.js:1:1\n");
  CHECK(map.find(0x1000) == nullptr);
  CHECK(*map.find(0x110f) == "later /app/y.js:1");
  CHECK(map.entries() == 2);
}

void perfMapLeavesOutWhatIsNoLine() {
  PerfMap map;
  map.add("nonsense\n\n 1 2 x\n1 0 empty\nffffffffffffffff 10 beyond\n10 1\n10 1 \n");
  CHECK(map.entries() == 0);
  map.add("1 1 " + std::string(kPerfMapLineBytesMax, 'x'));
  map.add(std::string(kPerfMapLineBytesMax, 'x') + "\n5 1 next\n");
  CHECK(map.entries() == 1 && *map.find(5) == "next");
}

void namesOfV8() {
  CHECK(plainName("JS:~ /app/x.js:1:1") == "(anonymous) /app/x.js:1");
  CHECK(plainName("JS:*f node:internal/timers:10:2") == "f node:internal/timers:10");
  CHECK(plainName("Builtin:Add") == "Builtin:Add");
  CHECK(plainName("JS:*f") == "f");
  CHECK(plainName("JS:") == "");
}

void mappings() {
  const auto all = parseMappings(
      "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/with space\n"
      "00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/with space\n"
      "rubbish\n"
      "7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
      "7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]\n");
  CHECK(all.size() == 3);
  CHECK(all[0].path == "/usr/bin/with space" && all[0].inode == 173521 && all[0].fileOffset == 0x1000);
  CHECK(findMapping(all, 0x451fff) == &all[0] && findMapping(all, 0x452000) == nullptr);
  CHECK(findMapping(all, 0x7f0000000010)->path.empty());
  CHECK(findMapping(all, 0) == nullptr);
}

void kernelSymbols() {
  const auto symbols = KernelSymbols::parse(
      "ffffffff81000000 T first\nffffffff81000100 t second\t[module]\nffffffff81000200 D data\nshort\n");
  CHECK(symbols.find(0xffffffff81000010) == "first");
  CHECK(symbols.find(0xffffffff81000300) == "second");
  CHECK(symbols.find(0x10).empty());
  CHECK(!KernelSymbols::parse("0000000000000000 T hidden\n").known());
}

void mangledNames() {
  CHECK(demangle("main") == "main");
  CHECK(demangle("_ZNSt6vectorIiSaIiEE9push_backERKi") ==
        "std::vector<int, std::allocator<int> >::push_back(int const&)");
  CHECK(demangle("_ZN4core3ptr13drop_in_place17h0123456789abcdefE") == "core::ptr::drop_in_place");
  CHECK(demangle("_ZN3app8$LT$A$GT$3runE17h0123456789abcdeZ").starts_with("_ZN"));
  CHECK(demangle("_Z_not_one") == "_Z_not_one");
  // Each parameter is a pair of the one before: written out it would be longer than any memory.
  std::string bomb = "_Z1fSt4pairIiiE";
  for (int i = 0; i < 60; i += 1) bomb += "S_IS" + std::string(1, static_cast<char>('0' + i % 10)) + "_S_E";
  CHECK(demangle("_Z1fNSt4pairI" + bomb + "E").size() <= kDemangledBytesMax + 3 + bomb.size());
  std::string doubled = "_Z1f1AIiiE";
  for (int i = 0; i < 200; i += 1) doubled += "S_IS0_S0_E";
  CHECK(demangle(doubled).size() < 4 * kDemangledBytesMax);
}

void ownFile() {
  const FileSource source(shoal::UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
  const auto symbols = ElfSymbols::read(source);
  CHECK(symbols && symbols->isComplete() && !symbols->segments().empty());
  bool found = false;
  for (const ElfFunction& each : symbols->functions()) {
    if (symbols->nameOf(source, each) != "knownFunction") continue;
    found = true;
    CHECK(symbols->find(each.address) == &each && symbols->find(each.address + each.bytes - 1) == &each);
  }
  CHECK(found);
}

/** The same as the profiler asks: an address of this very process. */
void ownProcess() {
  const std::string text = readProcText(getpid(), "stat");
  size_t at = text.rfind(')');
  for (int i = 0; i < 20; i += 1) at = text.find(' ', at + 1);
  const uint64_t start = std::strtoull(text.c_str() + at, nullptr, 10) * 10'000'000;
  CHECK(isProcess(getpid(), start) && !isProcess(getpid(), start + 10'000'000));
  Symbolizer symbolizer;
  symbolizer.beginRound();
  const unsigned long long addresses[] = {reinterpret_cast<unsigned long long>(&knownFunction), 16};
  std::vector<uint32_t> numbers;
  symbolizer.resolveUser({getpid(), start, 0}, addresses, 2, numbers);
  CHECK(numbers.size() == 2 && symbolizer.function(numbers[0]).name == "knownFunction");
  CHECK(symbolizer.function(numbers[1]).name == "[unknown]");
  // A pid that another process has had is not taken for this one.
  numbers.clear();
  symbolizer.resolveUser({getpid(), start + 10'000'000, 0}, addresses, 1, numbers);
  CHECK(symbolizer.function(numbers[0]).name == "[unknown]");
}

/** Wherever the file ends, or is changed, it is read or refused. */
void damagedFiles() {
  std::string bytes = readText("/proc/self/exe", 64 * 1024 * 1024);
  CHECK(bytes.size() > 10'000);
  for (size_t length = 0; length < bytes.size(); length += bytes.size() / 50 + 1)
    ElfSymbols::read(MemorySource(std::string_view(bytes).substr(0, length)));
  for (size_t at = 0; at < 64; at += 1) {
    const char kept = bytes[at];
    bytes[at] = static_cast<char>(0xff);
    ElfSymbols::read(MemorySource(bytes));
    bytes[at] = kept;
  }
}

}  // namespace

int main() {
  CHECK(knownFunction(2) == 6);
  perfMapHoldsWhatCameLast();
  perfMapLeavesOutWhatIsNoLine();
  namesOfV8();
  mappings();
  kernelSymbols();
  mangledNames();
  ownFile();
  ownProcess();
  damagedFiles();
  std::puts("symbols: names from ELF files, perf maps and the kernel, also of damaged ones");
}
