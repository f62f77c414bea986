#pragma once

#include <napi.h>

#include <string>

namespace shoal::host {

/**
 * A JavaScript Error for a failed system call, with the properties that Node's own have: `code` (such as EPERM),
 * `errno`, `syscall`, and `path` unless empty.
 */
Napi::Error systemError(Napi::Env env, int problem, const std::string& syscall, const std::string& path = "");

void throwSystemError(Napi::Env env, int problem, const std::string& syscall, const std::string& path = "");

}  // namespace shoal::host
