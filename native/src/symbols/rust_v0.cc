#include "symbols/rust_v0.h"

#include <array>
#include <cstdint>

#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

/** By the letter, from a on; empty where there is none. */
constexpr std::array<std::string_view, 26> kBasicTypes = {
    "i8",   "bool", "char", "f64", "str", "f32", "",    "u8", "isize", "usize", "",    "i32", "u32",
    "i128", "u128", "_",    "",    "",    "i16", "u16", "()", "...",   "",      "i64", "u64", "!"};

/** Reads the name from left to right and writes as it goes; of what does not matter it only reads. */
class Demangler {
 public:
  explicit Demangler(std::string_view text) : text_(text) {}

  std::optional<std::string> name() {
    path(true);
    // The crate in which a generic function was made.
    if (isGood() && !isAtEnd() && text_[at_] >= 'A' && text_[at_] <= 'Z') {
      const Silence silence(*this);
      path(false);
    }
    if (isFull_) return out_ + "…";
    // What follows a dot or a dollar was added by the compiler's back end.
    const bool isWhole = isAtEnd() || text_[at_] == '.' || text_[at_] == '$';
    if (!isGood() || !isWhole || out_.empty()) return std::nullopt;
    return out_;
  }

 private:
  struct Silence {
    explicit Silence(Demangler& of) : demangler(of) { demangler.silent_ += 1; }
    ~Silence() { demangler.silent_ -= 1; }
    Silence(const Silence&) = delete;
    Silence& operator=(const Silence&) = delete;
    Demangler& demangler;
  };
  /** Counts what is read, and how deep. */
  struct Step {
    explicit Step(Demangler& of) : demangler(of) {
      demangler.depth_ += 1;
      demangler.steps_ += 1;
      if (demangler.depth_ > kRustDepthMax || demangler.steps_ > kRustStepsMax) demangler.isBad_ = true;
    }
    ~Step() { demangler.depth_ -= 1; }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;
    Demangler& demangler;
  };
  struct Identifier {
    std::string_view text;
    bool isPunycode = false;
    uint64_t disambiguator = 0;
  };

  bool isGood() const { return !isBad_ && !isFull_; }
  bool isAtEnd() const { return at_ >= text_.size(); }

  char next() {
    if (isAtEnd()) {
      isBad_ = true;
      return '\0';
    }
    return text_[at_++];
  }

  bool take(char wanted) {
    if (isAtEnd() || text_[at_] != wanted) return false;
    at_ += 1;
    return true;
  }

  void write(std::string_view part) {
    if (silent_ > 0 || !isGood()) return;
    const size_t room = kDemangledBytesMax - out_.size();
    out_ += part.substr(0, room);
    if (part.size() > room) isFull_ = true;
  }

  /** `_` is 0, `0_` is 1. */
  uint64_t base62() {
    if (take('_')) return 0;
    uint64_t value = 0;
    for (;;) {
      const char each = next();
      if (each == '_' || !isGood()) break;
      const int digit = digitOf(each);
      if (digit < 0 || value > (UINT64_MAX - 62) / 62) {
        isBad_ = true;
        break;
      }
      value = value * 62 + static_cast<uint64_t>(digit);
    }
    return value + 1;
  }

  static int digitOf(char each) {
    if (each >= '0' && each <= '9') return each - '0';
    if (each >= 'a' && each <= 'z') return each - 'a' + 10;
    if (each >= 'A' && each <= 'Z') return each - 'A' + 36;
    return -1;
  }

  uint64_t disambiguator() { return take('s') ? base62() + 1 : 0; }

  Identifier bareIdentifier() {
    Identifier identifier;
    identifier.isPunycode = take('u');
    size_t length = 0;
    const char first = next();
    if (first < '0' || first > '9') isBad_ = true;
    length = static_cast<size_t>(first - '0');
    while (first != '0' && !isAtEnd() && text_[at_] >= '0' && text_[at_] <= '9' && length <= text_.size())
      length = length * 10 + static_cast<size_t>(next() - '0');
    take('_');
    if (isBad_ || length > text_.size() - at_) {
      isBad_ = true;
      return {};
    }
    identifier.text = text_.substr(at_, length);
    at_ += length;
    return identifier;
  }

  Identifier identifier() {
    const uint64_t number = disambiguator();
    Identifier found = bareIdentifier();
    found.disambiguator = number;
    return found;
  }

  void writeIdentifier(const Identifier& identifier) {
    if (!identifier.isPunycode) return write(identifier.text);
    write("punycode{");
    write(identifier.text);
    write("}");
  }

  /** Reads at an earlier place what is meant here too. Each leads further back, so that none leads in a circle. */
  template <typename Read>
  void back(Read read) {
    const size_t here = at_ - 1;
    const uint64_t place = base62();
    if (isBad_ || place >= here) {
      isBad_ = true;
      return;
    }
    if (silent_ > 0) return;
    const size_t after = at_;
    at_ = place;
    read();
    at_ = after;
  }

  /** `isValue`: what is called, not what is a type, which differ in how generic arguments are written. */
  void path(bool isValue) {
    const Step step(*this);
    if (!isGood()) return;
    switch (next()) {
      case 'C':
        return writeIdentifier(identifier());
      case 'M':
        implementation();
        write("<");
        type();
        return write(">");
      case 'X':
        implementation();
        return asTrait();
      case 'Y':
        return asTrait();
      case 'N':
        return nested(isValue);
      case 'I':
        path(isValue);
        write(isValue ? "::<" : "<");
        list([this] { genericArgument(); });
        return write(">");
      case 'B':
        return back([this, isValue] { path(isValue); });
      default:
        isBad_ = true;
    }
  }

  /** Where it is written says nothing that its type does not. */
  void implementation() {
    disambiguator();
    const Silence silence(*this);
    path(false);
  }

  void asTrait() {
    write("<");
    type();
    write(" as ");
    path(false);
    write(">");
  }

  void nested(bool isValue) {
    const char space = next();
    if (!((space >= 'a' && space <= 'z') || (space >= 'A' && space <= 'Z'))) isBad_ = true;
    path(isValue);
    const Identifier name = identifier();
    if (space >= 'a') {
      if (name.text.empty()) return;
      write("::");
      return writeIdentifier(name);
    }
    write("::{");
    if (space == 'C') {
      write("closure");
    } else if (space == 'S') {
      write("shim");
    } else {
      write(std::string_view(&space, 1));
    }
    if (!name.text.empty()) {
      write(":");
      writeIdentifier(name);
    }
    write("#");
    write(std::to_string(name.disambiguator));
    write("}");
  }

  /** What is there until an E, with commas between. Answers how many there were. */
  template <typename Read>
  size_t list(Read read) {
    size_t count = 0;
    while (isGood() && !take('E')) {
      if (count > 0) write(", ");
      read();
      count += 1;
    }
    return count;
  }

  void genericArgument() {
    if (take('L')) {
      base62();
      return write("'_");
    }
    if (take('K')) return constant();
    type();
  }

  void type() {
    const Step step(*this);
    if (!isGood()) return;
    const char tag = next();
    if (tag >= 'a' && tag <= 'z') {
      const std::string_view basic = kBasicTypes[static_cast<size_t>(tag - 'a')];
      if (basic.empty()) isBad_ = true;
      return write(basic);
    }
    switch (tag) {
      case 'R':
      case 'Q':
        if (take('L')) base62();
        write(tag == 'R' ? "&" : "&mut ");
        return type();
      case 'P':
      case 'O':
        write(tag == 'P' ? "*const " : "*mut ");
        return type();
      case 'A':
      case 'S':
        write("[");
        type();
        if (tag == 'A') {
          write("; ");
          constant();
        }
        return write("]");
      case 'T': {
        write("(");
        const size_t count = list([this] { type(); });
        return write(count == 1 ? ",)" : ")");
      }
      case 'F':
        return function();
      case 'D':
        return dynamic();
      case 'B':
        return back([this] { type(); });
      default:
        at_ -= 1;
        path(false);
    }
  }

  void binder() {
    if (take('G')) base62();
  }

  void function() {
    binder();
    if (take('U')) write("unsafe ");
    if (take('K')) {
      write("extern \"");
      if (take('C')) {
        write("C");
      } else {
        std::string convention(bareIdentifier().text);
        for (char& each : convention) each = each == '_' ? '-' : each;
        write(convention);
      }
      write("\" ");
    }
    write("fn(");
    list([this] { type(); });
    write(")");
    if (take('u')) return;
    write(" -> ");
    type();
  }

  void dynamic() {
    write("dyn ");
    binder();
    for (bool isFirst = true; isGood() && !take('E'); isFirst = false) {
      if (!isFirst) write(" + ");
      trait();
    }
    if (!take('L')) isBad_ = true;
    if (isGood()) base62();
  }

  /** What its associated types are stands among its arguments. */
  void trait() {
    const bool isOpen = openTrait();
    bool hasArguments = isOpen;
    while (isGood() && take('p')) {
      write(hasArguments ? ", " : "<");
      hasArguments = true;
      writeIdentifier(bareIdentifier());
      write(" = ");
      type();
    }
    if (hasArguments) write(">");
  }

  /** A path whose generic arguments, where it has any, are not closed. */
  bool openTrait() {
    const Step step(*this);
    if (!isGood()) return false;
    if (take('B')) {
      bool isOpen = false;
      back([this, &isOpen] { isOpen = openTrait(); });
      return isOpen;
    }
    if (!take('I')) {
      path(false);
      return false;
    }
    path(false);
    write("<");
    list([this] { genericArgument(); });
    return true;
  }

  void constant() {
    const Step step(*this);
    if (!isGood()) return;
    if (take('B')) return back([this] { constant(); });
    const char kind = next();
    switch (kind) {
      case 'p':
        return write("_");
      case 'b':
      case 'c':
        return literal(kind);
      case 'a':
      case 's':
      case 'l':
      case 'x':
      case 'n':
      case 'i':
        if (take('n')) write("-");
        return literal(kind);
      case 'h':
      case 't':
      case 'm':
      case 'y':
      case 'o':
      case 'j':
        return literal(kind);
      default:
        isBad_ = true;
    }
  }

  void literal(char kind) {
    const size_t start = at_;
    uint64_t value = 0;
    while (isGood() && !take('_')) {
      const int digit = digitOf(next());
      if (digit < 0 || digit > 15) isBad_ = true;
      value = value << 4 | static_cast<uint64_t>(digit & 15);
    }
    if (!isGood()) return;
    const std::string_view digits = text_.substr(start, at_ - 1 - start);
    if (kind == 'b') return write(value == 1 ? "true" : "false");
    if (kind == 'c' && value >= 0x20 && value < 0x7f) {
      const std::array<char, 3> quoted = {'\'', static_cast<char>(value), '\''};
      return write({quoted.data(), quoted.size()});
    }
    if (kind == 'c' || digits.size() > 16) {
      write("0x");
      return write(digits);
    }
    write(std::to_string(value));
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string out_;
  size_t depth_ = 0;
  size_t steps_ = 0;
  size_t silent_ = 0;
  bool isBad_ = false;
  bool isFull_ = false;
};

}  // namespace

std::optional<std::string> demangleRustV0(std::string_view name) {
  // What a later version would be begins with a number.
  if (!name.starts_with("_R") || name.size() < 3 || name[2] < 'A' || name[2] > 'Z') return std::nullopt;
  return Demangler(name.substr(2)).name();
}

}  // namespace shoal::symbols
