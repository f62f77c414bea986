#include "host/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cmath>
#include <memory>
#include <utility>

#include "common/external_buffer.h"
#include "common/unique_fd.h"
#include "host/system_error.h"

namespace shoal::host {
namespace {

/** Of mappings. */
constexpr double kPageBytes = 4096;

/** A file that parts are mapped of. */
class SharedFile {
 public:
  SharedFile(UniqueFd fd, size_t bytes) : fd_(std::move(fd)), bytes_(bytes) {}

  int fd() const { return fd_.get(); }
  double bytes() const { return static_cast<double>(bytes_); }
  bool holds(double offset, double length) const {
    return fd_.valid() && offset >= 0 && length > 0 && offset + length <= bytes();
  }
  void close() { fd_.reset(); }

  /** 0 or the error. */
  int allocate(int mode, double offset, double length) const {
    if (!holds(offset, length)) return EINVAL;
    int result = 0;
    do {
      result = fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
  }

 private:
  UniqueFd fd_;
  size_t bytes_;
};

/** Ends with unmap(), or when its buffer is collected. */
class Mapping {
 public:
  Mapping(void* data, size_t bytes) : data_(data), bytes_(bytes) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { unmap(); }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void unmap() {
    if (data_ != nullptr) munmap(data_, bytes_);
    data_ = nullptr;
  }

 private:
  void* data_;
  size_t bytes_;
};

using File = std::shared_ptr<SharedFile>;
using Part = std::shared_ptr<Mapping>;

Napi::Function allocator(Napi::Env env, const File& file, int mode) {
  return Napi::Function::New(env, [file, mode](const Napi::CallbackInfo& info) {
    const int problem = file->allocate(mode, info[0].ToNumber().DoubleValue(), info[1].ToNumber().DoubleValue());
    if (problem != 0) throwSystemError(info.Env(), problem, "fallocate");
  });
}

/** An external buffer for the mapping; nullptr, with an exception pending, when this runtime allows none. */
napi_value makeBuffer(napi_env env, const Part& part) {
  auto* held = new Part(part);
  const auto release = [](napi_env, void*, void* hint) { delete static_cast<Part*>(hint); };
  napi_value buffer = makeExternalBuffer(env, part->data(), part->bytes(), release, held);
  if (buffer == nullptr) delete held;
  return buffer;
}

Napi::Value mapPart(Napi::Env env, const SharedFile& file, double offset, double length) {
  if (!file.holds(offset, length) || std::fmod(offset, kPageBytes) != 0) {
    throwSystemError(env, EINVAL, "mmap");
    return env.Undefined();
  }
  const auto bytes = static_cast<size_t>(length);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    throwSystemError(env, errno, "mmap");
    return env.Undefined();
  }
  const auto part = std::make_shared<Mapping>(data, bytes);
  const napi_value buffer = makeBuffer(env, part);
  if (buffer == nullptr) return env.Undefined();
  const auto kept = std::make_shared<Napi::Reference<Napi::ArrayBuffer>>(
      Napi::Weak(Napi::Value(env, buffer).As<Napi::ArrayBuffer>()));
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("buffer", buffer);
  // The memory is taken away from JavaScript before it is unmapped.
  handle.Set("unmap", Napi::Function::New(env, [part, kept](const Napi::CallbackInfo&) {
               if (part->data() == nullptr) return;
               if (!kept->Value().IsEmpty()) kept->Value().Detach();
               part->unmap();
             }));
  return handle;
}

}  // namespace

Napi::Value openSharedFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  UniqueFd fd(info[0].ToNumber().Int32Value());
  struct stat status = {};
  if (fstat(fd.get(), &status) != 0) {
    throwSystemError(env, errno, "fstat");
    return env.Undefined();
  }
  const auto file = std::make_shared<SharedFile>(std::move(fd), static_cast<size_t>(status.st_size));
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("bytes", Napi::Number::New(env, file->bytes()));
  handle.Set("map", Napi::Function::New(env, [file](const Napi::CallbackInfo& call) {
               const double offset = call[0].ToNumber().DoubleValue();
               return mapPart(call.Env(), *file, offset, call[1].ToNumber().DoubleValue());
             }));
  handle.Set("reserve", allocator(env, file, 0));
  handle.Set("release", allocator(env, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
  handle.Set("close", Napi::Function::New(env, [file](const Napi::CallbackInfo&) { file->close(); }));
  return handle;
}

}  // namespace shoal::host
