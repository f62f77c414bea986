#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::shim {

/** The text as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
std::string jsonString(std::string_view text);

/** The value of the string field of a flat JSON object on one line, as crun logs it; nothing when there is none. */
std::optional<std::string> jsonStringField(std::string_view object, std::string_view name);

}  // namespace shoal::shim
