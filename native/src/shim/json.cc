#include "shim/json.h"

#include <charconv>
#include <cstdint>
#include <cstdio>

namespace shoal::shim {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

/** Bytes of the well-formed UTF-8 sequence at the beginning of the text; 0 when it is not one. */
size_t utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
    if (first == 0xED && byte(1) > 0x9F) return 0;  // a surrogate
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

void appendUtf8(std::string& out, uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | (point >> 6));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | (point >> 12));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (point >> 18));
    out += static_cast<char>(0x80 | ((point >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (point & 0x3F));
  }
}

std::optional<uint32_t> hex4(std::string_view text) {
  if (text.size() < 4) return std::nullopt;
  uint32_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + 4, value, 16);
  if (result.ec != std::errc() || result.ptr != text.data() + 4) return std::nullopt;
  return value;
}

/** Reads the JSON string whose opening quote is at `at`, and moves `at` behind its closing quote. */
std::optional<std::string> readString(std::string_view text, size_t& at) {
  std::string out;
  for (size_t i = at + 1; i < text.size(); i++) {
    if (text[i] == '"') {
      at = i + 1;
      return out;
    }
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i >= text.size()) return std::nullopt;
    switch (text[i]) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'u': {
        std::optional<uint32_t> point = hex4(text.substr(i + 1));
        if (!point) return std::nullopt;
        i += 4;
        if (*point >= 0xD800 && *point <= 0xDFFF) {
          const bool pair = *point <= 0xDBFF && text.substr(i + 1, 2) == "\\u";
          const std::optional<uint32_t> low = pair ? hex4(text.substr(i + 3)) : std::nullopt;
          if (low && *low >= 0xDC00 && *low <= 0xDFFF) {
            point = 0x10000 + ((*point - 0xD800) << 10) + (*low - 0xDC00);
            i += 6;
          } else {
            point = kReplacement;
          }
        }
        appendUtf8(out, *point);
        break;
      }
      default:
        out += text[i];
    }
  }
  return std::nullopt;
}

}  // namespace

std::string jsonString(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8Length(text.substr(i));
    if (length == 0) {
      appendUtf8(out, kReplacement);
      i++;
      continue;
    }
    const auto c = static_cast<uint8_t>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[i];
    } else if (c < 0x20 || c == 0x7F) {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out.append(text.substr(i, length));
    }
    i += length;
  }
  return out + "\"";
}

std::optional<std::string> jsonStringField(std::string_view object, std::string_view name) {
  const auto skipSpace = [&](size_t i) {
    while (i < object.size() && (object[i] == ' ' || object[i] == '\t')) i++;
    return i;
  };
  // Walking string by string keeps a name that occurs inside of a value from being taken for a field.
  size_t at = 0;
  while ((at = object.find('"', at)) != std::string_view::npos) {
    const std::optional<std::string> key = readString(object, at);
    if (!key) return std::nullopt;
    const size_t colon = skipSpace(at);
    if (colon >= object.size() || object[colon] != ':') continue;
    size_t value = skipSpace(colon + 1);
    if (value >= object.size() || object[value] != '"') continue;
    std::optional<std::string> text = readString(object, value);
    if (!text) return std::nullopt;
    if (*key == name) return text;
    at = value;
  }
  return std::nullopt;
}

}  // namespace shoal::shim
