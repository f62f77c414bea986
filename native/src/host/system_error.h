#pragma once

#include <napi.h>

#include <string>

namespace shoal::host {

/**
 * Throws a JavaScript Error for a failed system call, with the properties that Node's own have:
 * `code` (such as EPERM), `errno`, `syscall`, and `path` unless empty.
 */
void throwSystemError(Napi::Env env, int problem, const std::string& syscall, const std::string& path = "");

}  // namespace shoal::host
