/** Names of functions: from ELF files, perf maps and the kernel's list, and out of mangled ones. */
#include <fcntl.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "check.h"
#include "common/unique_fd.h"
#include "memory_source.h"
#include "symbols/demangle.h"
#include "symbols/eh_frame.h"
#include "symbols/elf_symbols.h"
#include "symbols/inline_answer.h"
#include "symbols/inline_reader.h"
#include "symbols/kernel_symbols.h"
#include "symbols/limits.h"
#include "symbols/mappings.h"
#include "symbols/perf_map.h"
#include "symbols/process_files.h"
#include "symbols/symbolizer.h"
#include "symbols/time_budget.h"

using namespace shoal::symbols;

extern "C" __attribute__((noinline, visibility("default"))) int knownFunction(int value) { return value * 3; }
/** A name of the same that no other file can link by. */
extern "C" {
static __attribute__((alias("knownFunction"), nothrow, used)) int nameWithin(int value);
}

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

void inlinedFunctions() {
  const std::vector<InlinedFunctions> all = {
      {}, {{"step", "/x.c", 12}, {"sixty", "", 0}}, {{std::string(kSymbolNameBytesMax + 1, 'n'), "f", 1}}};
  std::string answer;
  for (const InlinedFunctions& each : all) writeInlined(each, answer);
  const auto read = parseInlined(answer, all.size());
  CHECK(read && (*read)[0].empty() && (*read)[1] == all[1] && (*read)[2][0].name.size() == kSymbolNameBytesMax);
  CHECK(!parseInlined(answer, all.size() - 1) && !parseInlined(answer, all.size() + 1));
  for (size_t length = 0; length < answer.size(); length += 1)
    CHECK(!parseInlined(answer.substr(0, length), all.size()));
  CHECK(!parseInlined("\xff", 1));
  std::string deep;
  writeInlined(InlinedFunctions(kInlineDepthMax + 1), deep);
  CHECK(parseInlined(deep, 1)->front().size() == kInlineDepthMax);
}

/** Whatever the program does that reads the files. */
void inlineReaders() {
  const shoal::UniqueFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  CHECK(!InlineReader("/no/such/program").problem().empty() && !InlineReader("/bin/false").problem().empty());
  CHECK(InlineReader("/bin/true").problem().empty());
  // It answers with nothing, with too much, with what it is asked, and not at all.
  for (const char* program : {"/bin/true", "/usr/bin/yes", "/bin/cat", "/bin/false", "/no/such/program"})
    CHECK(!InlineReader(program).read(file.get(), {0x1000}));
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

void mangledNamesOfRust() {
  CHECK(demangle("_RNvC6_123foo3bar") == "123foo::bar");
  CHECK(demangle("_RNvNtCs1234_7mycrate3foo3bar.llvm.9D1C9369") == "mycrate::foo::bar");
  CHECK(demangle("_RNCNCNgCs6DXkGYLi8lr_2cc5spawn00B5_") == "cc::spawn::{closure#0}::{closure#0}");
  CHECK(
      demangle("_RNCINkXs25_NgCsbmNqQUJIY6D_4core5sliceINyB9_4IterhENuNgNoBb_4iter8iterator8Iterator9rpositionNCNgNpB9_"
               "6memchr7memrchrs_0E0Bb_") ==
      "<core::slice::Iter<u8> as "
      "core::iter::iterator::Iterator>::rposition::<core::slice::memchr::memrchr::{closure#1}>"
      "::{closure#0}");
  CHECK(demangle("_RINbNbCskIICzLVDPPb_5alloc5alloc8box_freeDINbNiB4_5boxed5FnBoxuEp6OutputuEL_ECs1iopQbuBiw2_3std") ==
        "alloc::alloc::box_free::<dyn alloc::boxed::FnBox<(), Output = ()>>");
  CHECK(demangle("_RMC0INtC8arrayvec8ArrayVechKj7b_E") == "<arrayvec::ArrayVec<u8, 123>>");
  CHECK(demangle("_RINvC1a1fRSAhj4_TlEFUKCPhEuE") == "a::f::<&[[u8; 4]], (i32,), unsafe extern \"C\" fn(*const u8)>");
  for (const char* none :
       {"_R", "_RN", "_R1NvC1a1b", "_RNvC1a9b", "_RB_", "_RNvB_1a", "_RINvC1a1fE!", "_RC99999999999999999999a",
        "_RNvCs99999999999999999999_1a1b", "_RC18446744073709551615a", "_RYpB0_"})
    CHECK(demangle(none) == none);
  // Deep, and wide by references that each stand for two of the one before.
  CHECK(demangle("_RM" + std::string(1000, 'S')) == "_RM" + std::string(1000, 'S'));
  std::string wide = "_RINvC1a1fTuuE";
  for (int i = 0; i < 30; i += 1) wide += "TB" + std::string(i == 0 ? "7" : "8") + "_B8_E";
  CHECK(demangle(wide + "E").size() <= kDemangledBytesMax + 3);
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

std::string sectionOf(const ElfSymbols& symbols, const ByteSource& source) {
  std::string bytes(symbols.unwindSection().bytes, '\0');
  CHECK(source.read(symbols.unwindSection().offset, bytes.data(), bytes.size()));
  return bytes;
}

/** At its first instruction a function's caller is eight bytes up, whatever it does later; past its end nobody knows.
 */
void unwindRowsOfOwnFile() {
  const FileSource source(shoal::UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
  const auto symbols = ElfSymbols::read(source);
  const std::string section = sectionOf(*symbols, source);
  const auto rows = compileUnwindRows(section, symbols->unwindSection().address, 0);
  CHECK(symbols->isForThisMachine() && rows.size() > 1000);
  const auto rowAt = [&](uint64_t address) {
    size_t i = 0;
    while (i + 1 < rows.size() && rows[i + 1].address <= address) i += 1;
    return rows[i];
  };
  for (const ElfFunction& each : symbols->functions()) {
    const std::string name = symbols->nameOf(source, each);
    if (name == "knownFunction" || name == "main") {
      CHECK(rowAt(each.address).rule == SHOAL_UNWIND_RSP && rowAt(each.address).cfa_offset == 1);
      CHECK(rowAt(each.address).rbp_offset == 0);
    }
    if (name == "_start") CHECK(rowAt(each.address + 4).rule == SHOAL_UNWIND_OUTERMOST);
  }
  for (size_t i = 1; i < rows.size(); i += 1) CHECK(rows[i - 1].address < rows[i].address);
  CHECK(compileUnwindRows(section, symbols->unwindSection().address, UINT64_MAX).empty());
}

/** A section of one CIE and one FDE, by hand. */
std::string section(std::string_view instructions, uint32_t functionBytes) {
  const auto word = [](uint32_t value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
  // Version 1, "zR", align 1 and -8, register 16, pointers of 4 signed bytes; CFA = rsp + 8, return address at CFA - 8.
  std::string cie = word(0) + std::string("\1zR\0\1\x78\x10\1\x0b\x0c\7\x08\x90\1", 14);
  cie = word(static_cast<uint32_t>(cie.size())) + cie;
  std::string fde = word(static_cast<uint32_t>(cie.size()) + 4) + word(0x1000) + word(functionBytes) +
                    std::string(1, '\0') + std::string(instructions);
  return cie + word(static_cast<uint32_t>(fde.size())) + fde + word(0);
}

void unwindRows() {
  // push rbp; mov rbp, rsp; leave: as compilers write it.
  const auto rows =
      compileUnwindRows(section(std::string_view("\x41\x0e\x10\x86\2\x43\x0d\6\x4a\x0c\7\x08", 12), 0x20), 0, 0);
  CHECK(rows.size() == 5);
  CHECK(rows[0].address == 0x1000 && rows[0].rule == SHOAL_UNWIND_RSP && rows[0].cfa_offset == 1);
  CHECK(rows[1].address == 0x1001 && rows[1].cfa_offset == 2 && rows[1].rbp_offset == -2);
  CHECK(rows[2].address == 0x1004 && rows[2].rule == SHOAL_UNWIND_RBP && rows[2].cfa_offset == 2);
  CHECK(rows[3].address == 0x100e && rows[3].rule == SHOAL_UNWIND_RSP && rows[3].cfa_offset == 1);
  CHECK(rows[4].address == 0x1020 && rows[4].rule == SHOAL_UNWIND_FRAME_POINTER);
  // rsp + 8 + ((rip & 15) >= 11) * 8, of a procedure linkage table.
  const std::string_view plt("\x0f\x0b\x77\x08\x80\0\x3f\x1a\x3b\x2a\x33\x24\x22", 13);
  const auto ofPlt = compileUnwindRows(section(plt, 0x20), 0, 0);
  CHECK(ofPlt[0].rule == SHOAL_UNWIND_PLT && ofPlt[0].cfa_offset == 11);
  // Nonsense is unknown from where it begins, and what no program remembers cannot be restored.
  const auto broken = compileUnwindRows(section(std::string_view("\x42\x3f", 2), 0x20), 0, 0);
  CHECK(broken[0].rule == SHOAL_UNWIND_RSP && broken[1].address == 0x1002 && broken[1].rule == SHOAL_UNWIND_UNKNOWN);
  CHECK(compileUnwindRows(section("\x0b", 0x20), 0, 0)[0].rule == SHOAL_UNWIND_UNKNOWN);
  // Locations that go on for ever stay within the function.
  const auto far = compileUnwindRows(section(std::string_view("\4\xff\xff\xff\x7f\x0e\x20", 7), 0x20), 0, 0);
  CHECK(far.size() == 2 && far[1].address == 0x1020);
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
  const MemorySource source(bytes);
  const auto symbols = ElfSymbols::read(source);
  std::string section = sectionOf(*symbols, source);
  for (size_t at = 0; at < section.size(); at += section.size() / 200 + 1) {
    const char kept = section[at];
    section[at] = static_cast<char>(0xff);
    compileUnwindRows(section, 0x1000, 0);
    compileUnwindRows(std::string_view(section).substr(0, at), 0x1000, 0);
    section[at] = kept;
  }
  for (size_t at = 0; at < 64; at += 1) {
    const char kept = bytes[at];
    bytes[at] = static_cast<char>(0xff);
    ElfSymbols::read(MemorySource(bytes));
    bytes[at] = kept;
  }
}

void timeBudgets() {
  using std::chrono::seconds;
  const TimeBudget::Clock::time_point begin{};
  TimeBudget budget(0.1, seconds(10), begin);
  budget.spend(seconds(9));
  CHECK(budget.isLeft(begin));
  budget.spend(seconds(3));
  CHECK(!budget.isLeft(begin + seconds(19)));
  CHECK(budget.isLeft(begin + seconds(21)));
  // No more is saved than at the begin.
  CHECK(budget.isLeft(begin + seconds(10'000)));
  budget.spend(seconds(11));
  CHECK(!budget.isLeft(begin + seconds(10'009)));
}

}  // namespace

int main() {
  CHECK(knownFunction(2) == 6);
  perfMapHoldsWhatCameLast();
  perfMapLeavesOutWhatIsNoLine();
  namesOfV8();
  inlinedFunctions();
  inlineReaders();
  mappings();
  kernelSymbols();
  mangledNames();
  mangledNamesOfRust();
  ownFile();
  unwindRowsOfOwnFile();
  unwindRows();
  ownProcess();
  damagedFiles();
  timeBudgets();
  std::puts("symbols: names from ELF files, perf maps and the kernel, also of damaged ones");
}
