#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "symbols/unwind_row.h"

namespace shoal::symbols {

/**
 * The rows for a section .eh_frame of x86-64 that lies at `address` in memory; `base` is what rows count from. What is
 * said by DWARF's expressions is known in three forms that compilers and glibc write: of procedure linkage tables, of
 * aligned stacks, of signal frames.
 *
 * Format: Linux Standard Base Core 5, chapter 10.6, and DWARF 5, chapter 6.4; registers by the System V ABI for AMD64.
 * Rows instead of the section's own program, as parca-agent and the profiler of OpenTelemetry compile it for BPF.
 *
 * The section comes from a container and may hold anything: what is no record ends the reading, what breaks off is left
 * out, and there are never more than kUnwindRowsMax rows. They are sorted, no two of one address or of one content in
 * turn.
 */
std::vector<shoal_unwind_row> compileUnwindRows(std::string_view section, uint64_t address, uint64_t base);

}  // namespace shoal::symbols
