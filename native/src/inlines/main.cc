/**
 * shoal-inlines: which functions were inlined at the addresses that it is given on its standard input, each of 8 bytes,
 * by the DWARF debug information of the file that it has open as descriptor 3. Writes for each what inline_answer.h
 * says, and ends with kInlinesSplitStatus where some units have theirs in other files. It is there for one file and
 * then ends: the file comes from a container and may hold anything.
 */
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "inlines/confine.h"
#include "inlines/dwarf_inlines.h"
#include "symbols/limits.h"

namespace {

constexpr int kFile = 3;

std::vector<uint64_t> readAddresses() {
  std::vector<uint64_t> addresses(shoal::symbols::kInlineAddressesMax);
  auto* bytes = reinterpret_cast<char*>(addresses.data());
  size_t count = 0;
  for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);) {
    got = read(STDIN_FILENO, bytes + count, addresses.size() * sizeof(uint64_t) - count);
    if (got > 0) count += static_cast<size_t>(got);
  }
  addresses.resize(count / sizeof(uint64_t));
  return addresses;
}

bool writeAll(const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t put = write(STDOUT_FILENO, text.data() + at, text.size() - at);
    if (put < 0 && errno != EINTR) return false;
    if (put > 0) at += static_cast<size_t>(put);
  }
  return true;
}

}  // namespace

int main() {
  const std::vector<uint64_t> addresses = readAddresses();
  if (shoal::inlines::confine() != 0) return 1;
  if (addresses.empty()) return 0;
  Dwarf* dwarf = dwarf_begin(kFile, DWARF_C_READ);
  if (dwarf == nullptr) return 1;
  const shoal::inlines::DwarfInlines inlines(dwarf, addresses);
  std::string answer;
  for (const uint64_t address : addresses) shoal::symbols::writeInlined(inlines.at(address), answer);
  if (!writeAll(answer)) return 1;
  // What it holds goes with the process.
  return inlines.isSplit() ? shoal::symbols::kInlinesSplitStatus : 0;
}
