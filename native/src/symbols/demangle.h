#pragma once

#include <string>

namespace shoal::symbols {

/**
 * The name as its author wrote it: C++ by the Itanium ABI, Rust in its older form, which is that of C++ with escapes,
 * and in its newer one (v0).
 * What is neither is answered as it is. Never longer than kDemangledBytesMax and an ellipsis.
 */
std::string demangle(const std::string& name);

}  // namespace shoal::symbols
