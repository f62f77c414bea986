#include "relay/crypto/library.h"

#include <dlfcn.h>

#include "relay/find_function.h"

namespace shoal::relay::crypto {
namespace {

struct Loaded {
  Library library = {};
  std::string problem;
};

Loaded loadNow() {
  Loaded loaded;
  const bool isHere = dlsym(RTLD_DEFAULT, "EVP_aes_256_gcm") != nullptr;
  void* const handle = isHere ? RTLD_DEFAULT : dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
  if (!isHere && handle == nullptr) {
    loaded.problem = "no OpenSSL in this process, and libcrypto.so.3 is not installed (apt-get install libssl3)";
    return loaded;
  }
  Library& all = loaded.library;
  const auto find = [&](auto& function, const char* name) {
    findFunction(handle, "libcrypto", name, function, loaded.problem);
  };
  find(all.newContext, "EVP_CIPHER_CTX_new");
  find(all.freeContext, "EVP_CIPHER_CTX_free");
  find(all.aes256Gcm, "EVP_aes_256_gcm");
  find(all.init, "EVP_CipherInit_ex");
  find(all.update, "EVP_CipherUpdate");
  find(all.final, "EVP_CipherFinal_ex");
  find(all.control, "EVP_CIPHER_CTX_ctrl");
  find(all.sha256, "EVP_sha256");
  find(all.hmac, "HMAC");
  return loaded;
}

}  // namespace

const Library* Library::load(std::string& problem) {
  static const Loaded loaded = loadNow();
  if (loaded.problem.empty()) return &loaded.library;
  problem = loaded.problem;
  return nullptr;
}

}  // namespace shoal::relay::crypto
