#include "symbols/eh_frame.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <tuple>

#include "symbols/cfi_reader.h"
#include "symbols/limits.h"

namespace shoal::symbols {
namespace {

constexpr uint64_t kRbp = 6;
constexpr uint64_t kRsp = 7;
constexpr uint64_t kReturnAddress = 16;
constexpr int64_t kWord = 8;

// How a pointer is written (LSB Core 5, 10.5.1).
constexpr uint8_t kFormatMask = 0x0f;
constexpr uint8_t kCountsFromMask = 0x70;
constexpr uint8_t kCountsFromItself = 0x10;
constexpr uint8_t kOmitted = 0xff;

// Instructions of the call frame (DWARF 5, 7.24).
enum : uint8_t {
  kAdvance = 0x40,
  kOffset = 0x80,
  kRestore = 0xc0,
  kNop = 0x00,
  kSetLocation = 0x01,
  kAdvance1 = 0x02,
  kAdvance2 = 0x03,
  kAdvance4 = 0x04,
  kOffsetExtended = 0x05,
  kRestoreExtended = 0x06,
  kUndefined = 0x07,
  kSameValue = 0x08,
  kRegister = 0x09,
  kRememberState = 0x0a,
  kRestoreState = 0x0b,
  kDefineCfa = 0x0c,
  kDefineCfaRegister = 0x0d,
  kDefineCfaOffset = 0x0e,
  kDefineCfaExpression = 0x0f,
  kExpression = 0x10,
  kOffsetExtendedSigned = 0x11,
  kDefineCfaSigned = 0x12,
  kDefineCfaOffsetSigned = 0x13,
  kValueOffset = 0x14,
  kValueOffsetSigned = 0x15,
  kValueExpression = 0x16,
  kGnuArgumentsSize = 0x2e,
};

// Operations of an expression (DWARF 5, 7.7.1).
constexpr uint8_t kDereference = 0x06;
constexpr uint8_t kBaseRbp = 0x70 + kRbp;

/** rsp + 8 + ((rip & 15) >= N) * 8, as linkers write it; N, a literal between the two, is where an entry has pushed. */
constexpr std::string_view kPltBegin("\x77\x08\x80\x00\x3f\x1a", 6);
constexpr std::string_view kPltEnd("\x2a\x33\x24\x22", 4);
constexpr uint8_t kLiteral0 = 0x30;
constexpr uint8_t kLiteral15 = 0x3f;

/** Where a register of the caller is. */
struct Place {
  enum Kind : uint8_t { kSame, kAtCfa, kUndefined, kAtRbp, kElsewhere };
  Kind kind = kSame;
  int64_t offset = 0;
};

struct State {
  /** One of SHOAL_UNWIND_RSP, RBP, RBP_STORED, PLT, UNKNOWN. */
  uint8_t cfa = SHOAL_UNWIND_UNKNOWN;
  int64_t cfaOffset = 0;
  Place rbp;
  Place returnAddress;
};

struct Cie {
  uint64_t codeAlign = 0;
  int64_t dataAlign = 0;
  uint8_t pointerFormat = 0;
  bool isSignal = false;
  bool hasAugmentation = false;
  State initial;
};

struct Fde {
  uint64_t begin = 0;
  uint64_t end = 0;
  /** Places of its own instructions and of its CIE in the section. */
  size_t instructions = 0;
  size_t instructionBytes = 0;
  size_t cie = 0;
};

std::optional<uint64_t> readPointer(CfiReader& reader, uint8_t format) {
  const uint64_t place = reader.address();
  uint64_t value = 0;
  switch (format & kFormatMask) {
    case 0x00:
    case 0x04:
    case 0x0c:
      value = reader.fixed<uint64_t>();
      break;
    case 0x02:
      value = reader.fixed<uint16_t>();
      break;
    case 0x03:
      value = reader.fixed<uint32_t>();
      break;
    case 0x0a:
      value = static_cast<uint64_t>(static_cast<int64_t>(reader.fixed<int16_t>()));
      break;
    case 0x0b:
      value = static_cast<uint64_t>(static_cast<int64_t>(reader.fixed<int32_t>()));
      break;
    default:
      return std::nullopt;
  }
  const uint8_t from = format & kCountsFromMask;
  if (reader.failed() || (from != 0 && from != kCountsFromItself)) return std::nullopt;
  return from == kCountsFromItself ? place + value : value;
}

int64_t times(uint64_t factor, int64_t align) {
  int64_t product = 0;
  const bool over =
      __builtin_mul_overflow(static_cast<int64_t>(factor & std::numeric_limits<int64_t>::max()), align, &product);
  return over ? std::numeric_limits<int64_t>::max() : product;
}

/** Runs the instructions of a CIE and of one of its FDEs, and tells the row at each place where something changes. */
class CallFrame {
 public:
  CallFrame(const Cie& cie, uint64_t begin) : cie_(cie), state_(cie.initial), location_(begin) {}

  const State& state() const { return state_; }
  uint64_t location() const { return location_; }

  /** False when the instructions make no sense from location() on; what was told until then holds. */
  template <typename Emit>
  bool run(CfiReader reader, Emit emit) {
    while (!reader.atEnd()) {
      const auto opcode = reader.fixed<uint8_t>();
      const uint64_t before = location_;
      const State was = state_;
      if (!step(opcode, reader) || reader.failed() || location_ < before) {
        location_ = before;
        return false;
      }
      if (location_ != before) emit(before, was);
    }
    emit(location_, state_);
    return true;
  }

 private:
  bool step(uint8_t opcode, CfiReader& reader) {
    const uint8_t low = opcode & 0x3f;
    switch (opcode & 0xc0) {
      case kAdvance:
        return advance(low);
      case kOffset:
        return store(low, {Place::kAtCfa, times(reader.uleb(), cie_.dataAlign)});
      case kRestore:
        return restore(low);
      default:
        return extended(opcode, reader);
    }
  }

  bool extended(uint8_t opcode, CfiReader& reader) {
    switch (opcode) {
      case kNop:
        return true;
      case kSetLocation: {
        const auto location = readPointer(reader, cie_.pointerFormat);
        if (!location) return false;
        location_ = *location;
        return true;
      }
      case kAdvance1:
        return advance(reader.fixed<uint8_t>());
      case kAdvance2:
        return advance(reader.fixed<uint16_t>());
      case kAdvance4:
        return advance(reader.fixed<uint32_t>());
      case kRememberState:
        if (remembered_ == kept_.size()) return false;
        kept_[remembered_] = state_;
        remembered_ += 1;
        return true;
      case kRestoreState:
        if (remembered_ == 0) return false;
        remembered_ -= 1;
        state_ = kept_[remembered_];
        return true;
      case kGnuArgumentsSize:
        reader.uleb();
        return true;
      case kDefineCfa:
      case kDefineCfaSigned:
      case kDefineCfaRegister:
      case kDefineCfaOffset:
      case kDefineCfaOffsetSigned:
      case kDefineCfaExpression:
        return cfa(opcode, reader);
      default:
        return place(opcode, reader);
    }
  }

  bool cfa(uint8_t opcode, CfiReader& reader) {
    switch (opcode) {
      case kDefineCfa:
      case kDefineCfaSigned: {
        const uint64_t number = reader.uleb();
        state_.cfaOffset = opcode == kDefineCfa ? times(reader.uleb(), 1) : timesSigned(reader.sleb());
        return baseCfaOn(number);
      }
      case kDefineCfaRegister:
        return baseCfaOn(reader.uleb());
      case kDefineCfaOffset:
        state_.cfaOffset = times(reader.uleb(), 1);
        return true;
      case kDefineCfaOffsetSigned:
        state_.cfaOffset = timesSigned(reader.sleb());
        return true;
      case kDefineCfaExpression:
        return computeCfa(reader.block(reader.uleb()));
      default:
        return false;
    }
  }

  bool place(uint8_t opcode, CfiReader& reader) {
    const uint64_t number = reader.uleb();
    switch (opcode) {
      case kOffsetExtended:
        return store(number, {Place::kAtCfa, times(reader.uleb(), cie_.dataAlign)});
      case kOffsetExtendedSigned:
        return store(number, {Place::kAtCfa, timesSigned(reader.sleb())});
      case kRestoreExtended:
        return restore(number);
      case kUndefined:
        return store(number, {Place::kUndefined, 0});
      case kSameValue:
        return store(number, {});
      case kExpression: {
        const std::string_view block = reader.block(reader.uleb());
        const bool atRbp = block.size() == 2 && static_cast<uint8_t>(block[0]) == kBaseRbp && block[1] == 0;
        return store(number, {atRbp ? Place::kAtRbp : Place::kElsewhere, 0});
      }
      case kRegister:
      case kValueOffset:
        reader.uleb();
        return store(number, {Place::kElsewhere, 0});
      case kValueOffsetSigned:
        reader.sleb();
        return store(number, {Place::kElsewhere, 0});
      case kValueExpression:
        reader.block(reader.uleb());
        return store(number, {Place::kElsewhere, 0});
      default:
        return false;
    }
  }

  bool advance(uint64_t by) {
    location_ += by * cie_.codeAlign;
    return true;
  }

  bool store(uint64_t number, Place place) {
    if (number == kRbp) state_.rbp = place;
    if (number == kReturnAddress) state_.returnAddress = place;
    return true;
  }

  bool restore(uint64_t number) {
    if (number == kRbp) state_.rbp = cie_.initial.rbp;
    if (number == kReturnAddress) state_.returnAddress = cie_.initial.returnAddress;
    return true;
  }

  bool baseCfaOn(uint64_t number) {
    state_.cfa = number == kRsp ? SHOAL_UNWIND_RSP : number == kRbp ? SHOAL_UNWIND_RBP : SHOAL_UNWIND_UNKNOWN;
    return true;
  }

  bool computeCfa(std::string_view block) {
    state_.cfa = SHOAL_UNWIND_UNKNOWN;
    if (const auto pushedAt = pltPush(block)) {
      state_.cfa = SHOAL_UNWIND_PLT;
      state_.cfaOffset = *pushedAt * kWord;
    }
    if (block.empty() || static_cast<uint8_t>(block.front()) != kBaseRbp) return true;
    CfiReader expression(block.substr(1), 0);
    const int64_t offset = expression.sleb();
    if (expression.fixed<uint8_t>() != kDereference || expression.failed() || !expression.atEnd()) return true;
    state_.cfa = SHOAL_UNWIND_RBP_STORED;
    state_.cfaOffset = offset;
    return true;
  }

  static std::optional<int64_t> pltPush(std::string_view block) {
    const bool isOne = block.size() == kPltBegin.size() + 1 + kPltEnd.size() && block.starts_with(kPltBegin) &&
                       block.ends_with(kPltEnd);
    if (!isOne) return std::nullopt;
    const auto literal = static_cast<uint8_t>(block[kPltBegin.size()]);
    if (literal < kLiteral0 || literal > kLiteral15) return std::nullopt;
    return literal - kLiteral0;
  }

  int64_t timesSigned(int64_t factor) const {
    int64_t product = 0;
    return __builtin_mul_overflow(factor, cie_.dataAlign, &product) ? std::numeric_limits<int64_t>::max() : product;
  }

  const Cie& cie_;
  State state_;
  uint64_t location_;
  std::array<State, kUnwindStatesMax> kept_;
  size_t remembered_ = 0;
};

template <typename T>
bool fitsInWords(int64_t offset) {
  const int64_t words = offset / kWord;
  return offset % kWord == 0 && words >= std::numeric_limits<T>::min() && words <= std::numeric_limits<T>::max();
}

constexpr shoal_unwind_row kUnknown = {0, 0, SHOAL_UNWIND_UNKNOWN, 0};

/** As a row without address. */
shoal_unwind_row rowOf(const State& state, bool isSignal) {
  if (isSignal) return {0, 0, SHOAL_UNWIND_SIGNAL, 0};
  if (state.returnAddress.kind == Place::kUndefined) return {0, 0, SHOAL_UNWIND_OUTERMOST, 0};
  const bool isUsual = state.returnAddress.kind == Place::kAtCfa && state.returnAddress.offset == -kWord;
  if (!isUsual || !fitsInWords<int16_t>(state.cfaOffset)) return kUnknown;
  shoal_unwind_row row = {0, static_cast<short>(state.cfaOffset / kWord), state.cfa, 0};
  if (state.cfa == SHOAL_UNWIND_RBP_STORED) {
    // The caller's frame pointer is where ours points to; what else compilers do not write.
    return state.rbp.kind == Place::kAtRbp ? row : kUnknown;
  }
  if (state.rbp.kind == Place::kAtCfa) {
    if (!fitsInWords<int8_t>(state.rbp.offset)) return kUnknown;
    row.rbp_offset = static_cast<signed char>(state.rbp.offset / kWord);
  }
  return row.rule == SHOAL_UNWIND_UNKNOWN ? kUnknown : row;
}

bool isSame(const shoal_unwind_row& a, const shoal_unwind_row& b) {
  return a.rule == b.rule && a.cfa_offset == b.cfa_offset && a.rbp_offset == b.rbp_offset;
}

class Rows {
 public:
  explicit Rows(uint64_t base) : base_(base) {}

  bool isFull() const { return rows_.size() >= kUnwindRowsMax; }

  /** Addresses only rise; a later row of the same address takes the place of the one before. */
  void add(uint64_t address, shoal_unwind_row row) {
    if (address < base_ || address - base_ > std::numeric_limits<uint32_t>::max()) return;
    row.address = static_cast<uint32_t>(address - base_);
    if (!rows_.empty() && rows_.back().address > row.address) return;
    if (!rows_.empty() && rows_.back().address == row.address) rows_.pop_back();
    if (rows_.empty() || !isSame(rows_.back(), row)) {
      if (!isFull()) rows_.push_back(row);
    }
  }

  std::vector<shoal_unwind_row> take() { return std::move(rows_); }

 private:
  uint64_t base_;
  std::vector<shoal_unwind_row> rows_;
};

class Section {
 public:
  Section(std::string_view bytes, uint64_t address) : bytes_(bytes), address_(address) {}

  std::vector<Fde> readFdes() {
    std::vector<Fde> fdes;
    for (size_t at = 0; at < bytes_.size();) {
      const Record record = recordAt(at);
      if (record.end <= at) break;
      if (record.id != 0 && fdes.size() < kUnwindFunctionsMax) readFde(record, fdes);
      at = record.end;
    }
    return fdes;
  }

  const Cie* cieAt(size_t place) {
    if (place != ciePlace_ || !known_) {
      cie_ = readCie(place);
      ciePlace_ = place;
      known_ = true;
    }
    return cie_ ? &*cie_ : nullptr;
  }

  CfiReader instructionsOf(const Fde& fde) const { return part(fde.instructions, fde.instructionBytes); }

 private:
  struct Record {
    size_t body = 0;
    /** 0: there is none. */
    size_t end = 0;
    /** Where the id is, from which a CIE is counted back. */
    size_t idPlace = 0;
    uint32_t id = 0;
  };

  CfiReader part(size_t at, size_t length) const {
    return {bytes_.substr(std::min(at, bytes_.size()), length), address_ + at};
  }

  Record recordAt(size_t at) const {
    CfiReader reader = part(at, std::string_view::npos);
    uint64_t length = reader.fixed<uint32_t>();
    if (length == std::numeric_limits<uint32_t>::max()) length = reader.fixed<uint64_t>();
    if (length < sizeof(uint32_t) || length > reader.left()) return {};
    const size_t idPlace = bytes_.size() - reader.left();
    const auto id = reader.fixed<uint32_t>();
    return {idPlace + sizeof id, idPlace + static_cast<size_t>(length), idPlace, id};
  }

  std::optional<Cie> readCie(size_t place) const {
    const Record record = recordAt(place);
    if (record.end == 0 || record.id != 0 || record.end - record.body > kUnwindCieBytesMax) return std::nullopt;
    CfiReader reader = part(record.body, record.end - record.body);
    const auto version = reader.fixed<uint8_t>();
    const std::string_view augmentation = reader.text();
    if (version != 1 && version != 3) return std::nullopt;
    Cie cie;
    cie.codeAlign = reader.uleb();
    cie.dataAlign = reader.sleb();
    const uint64_t returnAddress = version == 1 ? reader.fixed<uint8_t>() : reader.uleb();
    if (reader.failed() || returnAddress != kReturnAddress) return std::nullopt;
    if (!augmentation.empty() && !readAugmentation(augmentation, reader, cie)) return std::nullopt;
    CallFrame frame(cie, 0);
    if (!frame.run(reader, [](uint64_t, const State&) {})) return std::nullopt;
    cie.initial = frame.state();
    return cie;
  }

  static bool readAugmentation(std::string_view augmentation, CfiReader& reader, Cie& cie) {
    if (augmentation.front() != 'z') return false;
    cie.hasAugmentation = true;
    const uint64_t length = reader.uleb();
    const uint64_t start = reader.address();
    CfiReader data(reader.block(length), start);
    for (const char each : augmentation.substr(1)) {
      if (each == 'R') cie.pointerFormat = data.fixed<uint8_t>();
      if (each == 'L') data.fixed<uint8_t>();
      if (each == 'S') cie.isSignal = true;
      if (each == 'P') {
        const auto format = data.fixed<uint8_t>();
        if (format != kOmitted && !readPointer(data, format)) return false;
      }
    }
    return !data.failed() && !reader.failed();
  }

  void readFde(const Record& record, std::vector<Fde>& into) {
    if (record.id > record.idPlace) return;
    const size_t ciePlace = record.idPlace - record.id;
    const Cie* cie = cieAt(ciePlace);
    if (cie == nullptr) return;
    CfiReader reader = part(record.body, record.end - record.body);
    const auto begin = readPointer(reader, cie->pointerFormat);
    const auto length = readPointer(reader, cie->pointerFormat & kFormatMask);
    if (!begin || !length || *length == 0 || *begin + *length < *begin) return;
    if (cie->hasAugmentation) reader.block(reader.uleb());
    if (reader.failed()) return;
    into.push_back({*begin, *begin + *length, record.end - reader.left(), reader.left(), ciePlace});
  }

  std::string_view bytes_;
  uint64_t address_;
  /** The one that was asked for last: most sections have few. */
  std::optional<Cie> cie_;
  size_t ciePlace_ = 0;
  bool known_ = false;
};

}  // namespace

std::vector<shoal_unwind_row> compileUnwindRows(std::string_view bytes, uint64_t address, uint64_t base) {
  Section section(bytes, address);
  std::vector<Fde> fdes = section.readFdes();
  std::stable_sort(fdes.begin(), fdes.end(), [](const Fde& a, const Fde& b) { return a.begin < b.begin; });
  Rows rows(base);
  uint64_t end = 0;
  for (const Fde& fde : fdes) {
    const Cie* cie = section.cieAt(fde.cie);
    // Of two that hold the same place the first is taken.
    if (cie == nullptr || fde.begin < end || rows.isFull()) continue;
    CallFrame frame(*cie, fde.begin);
    const auto isWithin = [&](uint64_t at) { return at >= fde.begin && at < fde.end; };
    const bool ran = frame.run(section.instructionsOf(fde), [&](uint64_t at, const State& state) {
      if (isWithin(at)) rows.add(at, rowOf(state, cie->isSignal));
    });
    if (!ran) rows.add(isWithin(frame.location()) ? frame.location() : fde.begin, kUnknown);
    end = fde.end;
    rows.add(end, {0, 0, SHOAL_UNWIND_FRAME_POINTER, 0});
  }
  return rows.take();
}

}  // namespace shoal::symbols
