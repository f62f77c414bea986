#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace shoal::relay::crypto {

struct CipherContext;
struct Cipher;
struct Digest;
struct Engine;

/**
 * What is used of libcrypto (OpenSSL's EVP interface), by declarations of our own: neither building nor loading the
 * addon needs it. Node exports the functions of the OpenSSL that it holds, on purpose for addons; those are taken, so
 * that there are never two of them in one process. A program without one, as the native tests, loads the system's.
 */
struct Library {
  /** nullptr with the reason when there is none, or it lacks something. */
  static const Library* load(std::string& problem);

  CipherContext* (*newContext)();
  void (*freeContext)(CipherContext* context);
  const Cipher* (*aes256Gcm)();
  int (*init)(CipherContext* context, const Cipher* cipher, Engine* engine, const uint8_t* key, const uint8_t* nonce,
              int seals);
  int (*update)(CipherContext* context, uint8_t* out, int* outBytes, const uint8_t* in, int inBytes);
  int (*final)(CipherContext* context, uint8_t* out, int* outBytes);
  int (*control)(CipherContext* context, int what, int number, void* pointer);
  const Digest* (*sha256)();
  uint8_t* (*hmac)(const Digest* digest, const void* key, int keyBytes, const uint8_t* text, size_t textBytes,
                   uint8_t* out, unsigned* outBytes);
};

/** For `control`: EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG. */
inline constexpr int kGetTag = 0x10;
inline constexpr int kSetTag = 0x11;
/** For `init`: leave it sealing or opening, as it is (EVP_CipherInit_ex(3)). */
inline constexpr int kSameWay = -1;

}  // namespace shoal::relay::crypto
