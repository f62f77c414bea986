#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::symbols {

/**
 * The path that a name of Rust's symbol mangling v0 (RFC 2603) stands for, without hashes and lifetimes, cut with an
 * ellipsis after kDemangledBytesMax. None for what is no such name, or of a form that is not known here. The work is
 * bounded whatever the name is: it comes from a container.
 */
std::optional<std::string> demangleRustV0(std::string_view name);

}  // namespace shoal::symbols
