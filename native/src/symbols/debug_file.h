#pragma once

#include <sys/types.h>

#include <memory>

#include "symbols/byte_source.h"
#include "symbols/elf_symbols.h"
#include "symbols/mappings.h"

namespace shoal::symbols {

/** What was stripped from an ELF file, in a file of its own. */
struct DebugFile {
  std::unique_ptr<FileSource> source;
  ElfSymbols symbols;
};

/**
 * Null when there is none. Looked for by build id on the host, then in the process's own root by build id and where
 * .gnu_debuglink leads (the manual of GDB, "Separate Debug Files"). One of a container counts only when it is of the
 * same file system as the file itself: a file that containers share is none that one of them may name for the others.
 */
std::unique_ptr<DebugFile> findDebugFile(pid_t pid, const Mapping& mapping, const FileSource& file,
                                         const ElfSymbols& symbols);

}  // namespace shoal::symbols
