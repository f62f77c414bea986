#include "host/system_error.h"

#include <cstring>

namespace shoal::host {

Napi::Error systemError(Napi::Env env, int problem, const std::string& syscall, const std::string& path) {
  const char* name = strerrorname_np(problem);
  const std::string code = name == nullptr ? "EUNKNOWN" : name;
  const std::string where = path.empty() ? "" : " '" + path + "'";
  Napi::Error error = Napi::Error::New(env, code + ": " + std::strerror(problem) + ", " + syscall + where);
  error.Set("code", Napi::String::New(env, code));
  error.Set("errno", Napi::Number::New(env, problem));
  error.Set("syscall", Napi::String::New(env, syscall));
  if (!path.empty()) error.Set("path", Napi::String::New(env, path));
  return error;
}

void throwSystemError(Napi::Env env, int problem, const std::string& syscall, const std::string& path) {
  systemError(env, problem, syscall, path).ThrowAsJavaScriptException();
}

}  // namespace shoal::host
