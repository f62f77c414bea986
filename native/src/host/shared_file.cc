#include "host/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

/** A mapping and its file. Ends with close(), or when its buffer is collected. */
class SharedFile {
 public:
  SharedFile(UniqueFd fd, void* data, size_t bytes) : fd_(std::move(fd)), data_(data), bytes_(bytes) {}
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  ~SharedFile() { unmap(); }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  bool open() const { return data_ != nullptr; }
  void unmap() {
    if (data_ != nullptr) munmap(data_, bytes_);
    data_ = nullptr;
    fd_.reset();
  }
  /** 0 or the error. */
  int allocate(int mode, double offset, double length) const {
    if (!open()) return EBADF;
    const auto whole = static_cast<double>(bytes_);
    if (!(offset >= 0 && length > 0 && offset + length <= whole)) return EINVAL;
    int result = 0;
    do {
      result = fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
  }

 private:
  UniqueFd fd_;
  void* data_;
  size_t bytes_;
};

using Shared = std::shared_ptr<SharedFile>;

/**
 * V8 counts the whole mapping as memory that a garbage collection could free, which would make it collect without end:
 * what is mapped is mostly not there. Told the opposite first, it comes out even.
 */
void discount(napi_env env, int64_t bytes) {
  int64_t now = 0;
  napi_adjust_external_memory(env, bytes, &now);
}

Napi::Function allocator(Napi::Env env, const Shared& file, int mode) {
  return Napi::Function::New(env, [file, mode](const Napi::CallbackInfo& info) {
    const int problem = file->allocate(mode, info[0].ToNumber().DoubleValue(), info[1].ToNumber().DoubleValue());
    if (problem != 0) throwSystemError(info.Env(), problem, "fallocate");
  });
}

/** One external buffer for the whole mapping; nullptr when this runtime allows none. */
napi_value makeBuffer(napi_env env, const Shared& file) {
  auto* held = new Shared(file);
  const auto release = [](napi_env of, void*, void* hint) {
    auto* mine = static_cast<Shared*>(hint);
    discount(of, static_cast<int64_t>((*mine)->bytes()));
    delete mine;
  };
  discount(env, -static_cast<int64_t>(file->bytes()));
  napi_value buffer = nullptr;
  if (napi_create_external_arraybuffer(env, file->data(), file->bytes(), release, held, &buffer) == napi_ok) {
    return buffer;
  }
  discount(env, static_cast<int64_t>(file->bytes()));
  delete held;
  return nullptr;
}

}  // namespace

Napi::Value mapSharedFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  UniqueFd fd(info[0].ToNumber().Int32Value());
  struct stat status = {};
  if (fstat(fd.get(), &status) != 0 || status.st_size <= 0) {
    throwSystemError(env, status.st_size <= 0 ? EINVAL : errno, "fstat");
    return env.Undefined();
  }
  const auto bytes = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (data == MAP_FAILED) {
    throwSystemError(env, errno, "mmap");
    return env.Undefined();
  }
  const auto file = std::make_shared<SharedFile>(std::move(fd), data, bytes);
  const napi_value buffer = makeBuffer(env, file);
  if (buffer == nullptr) {
    Napi::Error::New(env, "this runtime allows no external buffers").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto kept = std::make_shared<Napi::Reference<Napi::ArrayBuffer>>(
      Napi::Weak(Napi::Value(env, buffer).As<Napi::ArrayBuffer>()));
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("buffer", buffer);
  handle.Set("reserve", allocator(env, file, 0));
  handle.Set("release", allocator(env, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
  // The memory is taken away from JavaScript before it is unmapped.
  handle.Set("close", Napi::Function::New(env, [file, kept](const Napi::CallbackInfo&) {
               if (!file->open()) return;
               if (!kept->IsEmpty() && !kept->Value().IsEmpty()) kept->Value().Detach();
               file->unmap();
             }));
  return handle;
}

}  // namespace shoal::host
