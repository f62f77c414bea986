#pragma once

#include <dlfcn.h>

#include <cstring>
#include <string>

namespace shoal::relay {

/** Looks a function up in what dlopen answered; says in `problem` when the library has none of that name. */
template <typename Function>
void findFunction(void* handle, const std::string& library, const char* name, Function& function,
                  std::string& problem) {
  void* const symbol = dlsym(handle, name);
  if (symbol == nullptr) problem = library + " has no " + name;
  // A pointer to data is turned into one to a function: POSIX, dlsym(3).
  std::memcpy(&function, &symbol, sizeof symbol);
}

}  // namespace shoal::relay
