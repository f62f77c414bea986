#include "relay/crypto/chunk_cipher.h"

#include <cassert>
#include <climits>
#include <cstring>

namespace shoal::relay::crypto {
namespace {

constexpr size_t kNonceBytes = 12;

const uint8_t* bytesOf(const void* bytes) { return static_cast<const uint8_t*>(bytes); }

}  // namespace

ChunkCipher::ChunkCipher(const Library& library, Way way, const Secret& secret, uint64_t chunksPerKey)
    : library_(library), way_(way), chunksPerKey_(chunksPerKey), secret_(secret), context_(library.newContext()) {}

ChunkCipher::~ChunkCipher() {
  library_.freeContext(context_);
  explicit_bzero(secret_.data(), secret_.size());
}

std::unique_ptr<ChunkCipher> ChunkCipher::create(Way way, const Secret& secret, std::string& problem,
                                                 uint64_t chunksPerKey) {
  assert(chunksPerKey > 0);
  const Library* library = Library::load(problem);
  if (library == nullptr) return nullptr;
  std::unique_ptr<ChunkCipher> cipher(new ChunkCipher(*library, way, secret, chunksPerKey));
  const int seals = way == Way::seals ? 1 : 0;
  const bool ready = cipher->context_ != nullptr &&
                     library->init(cipher->context_, library->aes256Gcm(), nullptr, nullptr, nullptr, seals) == 1 &&
                     cipher->takeNextKey();
  if (ready) return cipher;
  problem = "libcrypto has no AES-256-GCM";
  return nullptr;
}

bool ChunkCipher::derive(const char* what, Secret& out) const {
  unsigned written = 0;
  return library_.hmac(library_.sha256(), secret_.data(), static_cast<int>(secret_.size()), bytesOf(what),
                       std::strlen(what), out.data(), &written) != nullptr &&
         written == out.size();
}

bool ChunkCipher::takeNextKey() {
  Secret key;
  Secret after;
  const bool taken = derive("shoal fabric: key", key) && derive("shoal fabric: next secret", after) &&
                     library_.init(context_, nullptr, nullptr, key.data(), nullptr, kSameWay) == 1;
  if (taken) secret_ = after;
  chunk_ = 0;
  explicit_bzero(key.data(), key.size());
  explicit_bzero(after.data(), after.size());
  return taken;
}

bool ChunkCipher::next(const void* open, size_t openBytes, const std::byte* in, size_t bytes, std::byte* out,
                       Tag& tag) {
  assert(openBytes <= INT_MAX && bytes <= INT_MAX);
  if (broken_ || (chunk_ == chunksPerKey_ && !takeNextKey())) return false;
  uint8_t nonce[kNonceBytes] = {};
  std::memcpy(nonce, &chunk_, sizeof chunk_);
  chunk_ += 1;
  int written = 0;
  uint8_t none[1];
  auto* const to = reinterpret_cast<uint8_t*>(out);
  const bool done =
      library_.init(context_, nullptr, nullptr, nullptr, nonce, kSameWay) == 1 &&
      library_.update(context_, nullptr, &written, bytesOf(open), static_cast<int>(openBytes)) == 1 &&
      (bytes == 0 || library_.update(context_, to, &written, bytesOf(in), static_cast<int>(bytes)) == 1) &&
      (way_ == Way::seals || library_.control(context_, kSetTag, kTagBytes, tag.data()) == 1) &&
      library_.final(context_, none, &written) == 1 &&
      (way_ == Way::opens || library_.control(context_, kGetTag, kTagBytes, tag.data()) == 1);
  broken_ = !done;
  return done;
}

}  // namespace shoal::relay::crypto
