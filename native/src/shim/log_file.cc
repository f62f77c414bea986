#include "shim/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace shoal::shim {

LogFile::LogFile(std::string path, uint64_t bytesMax, uint64_t filesMax)
    : path_(std::move(path)), bytesMax_(bytesMax), filesMax_(filesMax) {}

bool LogFile::open() {
  if (fd_.valid()) return true;
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd_.valid()) return false;
  struct stat info = {};
  size_ = fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
  return true;
}

void LogFile::rotate() {
  fd_.reset();
  size_ = 0;
  if (filesMax_ == 1) {
    unlink(path_.c_str());
    return;
  }
  // rename replaces its target, so the oldest goes by itself; a missing one in between is no error.
  for (uint64_t i = filesMax_ - 1; i >= 1; i--) {
    const std::string from = i == 1 ? path_ : path_ + "." + std::to_string(i - 1);
    rename(from.c_str(), (path_ + "." + std::to_string(i)).c_str());
  }
}

void LogFile::write(std::string_view lines) {
  while (!lines.empty()) {
    const ssize_t written = open() ? ::write(fd_.get(), lines.data(), lines.size()) : -1;
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      lostBytes_ += lines.size();
      return;
    }
    size_ += static_cast<uint64_t>(written);
    lines.remove_prefix(static_cast<size_t>(written));
  }
}

void LogFile::append(std::string_view lines) {
  if (lostBytes_ > 0) {
    const std::string note = "shoal-shim: " + std::to_string(lostBytes_) + " bytes of log were lost here\n";
    const uint64_t lost = lostBytes_;
    write(note);
    lostBytes_ = lostBytes_ > lost ? lost : 0;
  }
  while (!lines.empty()) {
    // Lines that cannot be written anyway are counted at once.
    if (!open()) {
      lostBytes_ += lines.size();
      return;
    }
    const uint64_t room = size_ < bytesMax_ ? bytesMax_ - size_ : 0;
    size_t taken = lines.size();
    if (taken > room) {
      const size_t lastNewline = room == 0 ? std::string_view::npos : lines.rfind('\n', static_cast<size_t>(room) - 1);
      taken = lastNewline == std::string_view::npos ? 0 : lastNewline + 1;
    }
    if (taken == 0 && size_ == 0) taken = lines.find('\n') + 1;  // one line alone is beyond the bound
    if (taken == 0) {
      rotate();
      continue;
    }
    write(lines.substr(0, taken));
    lines.remove_prefix(taken);
  }
}

}  // namespace shoal::shim
