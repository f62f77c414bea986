#include "symbols/inline_answer.h"

#include <algorithm>

#include "symbols/cfi_reader.h"
#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

template <typename T>
void append(std::string& into, T value) {
  into.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void appendText(std::string& into, std::string_view text, size_t bytesMax) {
  const std::string_view part = text.substr(0, bytesMax);
  append(into, static_cast<uint16_t>(part.size()));
  into.append(part);
}

std::string takeText(CfiReader& reader, size_t bytesMax) {
  const auto bytes = reader.fixed<uint16_t>();
  if (bytes > bytesMax) reader.fail();
  return std::string(reader.block(bytes));
}

}  // namespace

void writeInlined(const InlinedFunctions& functions, std::string& into) {
  const size_t count = std::min(functions.size(), kInlineDepthMax);
  append(into, static_cast<uint8_t>(count));
  for (size_t i = 0; i < count; i += 1) {
    appendText(into, functions[i].name, kSymbolNameBytesMax);
    appendText(into, functions[i].file, kInlinePathBytesMax);
    append(into, functions[i].line);
  }
}

std::optional<std::vector<InlinedFunctions>> parseInlined(std::string_view answer, size_t addresses) {
  CfiReader reader(answer, 0);
  std::vector<InlinedFunctions> all;
  for (size_t i = 0; i < addresses && !reader.failed(); i += 1) {
    const auto count = reader.fixed<uint8_t>();
    if (count > kInlineDepthMax) reader.fail();
    InlinedFunctions functions;
    for (uint8_t each = 0; each < count && !reader.failed(); each += 1) {
      InlinedFunction function;
      function.name = takeText(reader, kSymbolNameBytesMax);
      function.file = takeText(reader, kInlinePathBytesMax);
      function.line = reader.fixed<uint32_t>();
      functions.push_back(std::move(function));
    }
    all.push_back(std::move(functions));
  }
  if (reader.failed() || reader.left() > 0) return std::nullopt;
  return all;
}

}  // namespace shoal::symbols
