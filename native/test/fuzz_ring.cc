/**
 * libFuzzer target: both ends of a ring work while the input says what is scribbled over the shared memory between any
 * two of their steps, and between the two reads of one step. Nothing but clean errors may come of it; ASan sees any
 * access beyond the ring. See native/test/fuzz.
 */
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "check.h"
#include "fabric/ring.h"

using namespace shoal::fabric;

namespace {

constexpr uint32_t kRingBytes = 256;
constexpr uint32_t kShortLapWords = 8;

/** The bytes of the input, one after the other; zeros after the last. */
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  template <class Value>
  Value take() {
    Value value = {};
    const size_t bytes = left_ < sizeof value ? left_ : sizeof value;
    std::memcpy(&value, data_, bytes);
    data_ += bytes;
    left_ -= bytes;
    return value;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

/** What the input scribbles on. */
struct Shared;
Shared* shared = nullptr;

/** A shared word that lets the scribbler in before each access. */
class ScribbledWord {
 public:
  uint32_t load() const;
  uint32_t loadAcquire() const { return load(); }
  void store(uint32_t value);
  void storeRelease(uint32_t value) { store(value); }
  uint32_t exchange(uint32_t value);
  uint32_t value = 0;
};

struct Cell {
  ScribbledWord header;
  uint32_t rest = 0;
};

struct Shared {
  Input input;
  RingControl<ScribbledWord> control = {};
  std::unique_ptr<Cell[]> data = std::make_unique<Cell[]>(kRingBytes / sizeof(Cell));

  BasicRing<ScribbledWord> ring() { return {&control, reinterpret_cast<std::byte*>(data.get()), kRingBytes}; }

  void scribble() {
    const auto what = input.take<uint8_t>();
    const auto place = static_cast<uint8_t>(what >> 2);
    switch (what & 3) {
      case 1:
        (place & 1 ? control.tail : control.head).value = input.take<uint32_t>();
        break;
      case 2:
        (place & 1 ? control.tail : control.head).value += place >> 1;
        break;
      case 3:
        data[place % (kRingBytes / sizeof(Cell))].header.value =
            input.take<uint16_t>() | uint32_t{input.take<uint8_t>()} << 24;
        break;
      default:
        break;
    }
  }
};

uint32_t ScribbledWord::load() const {
  shared->scribble();
  return value;
}
void ScribbledWord::store(uint32_t stored) {
  shared->scribble();
  value = stored;
}
uint32_t ScribbledWord::exchange(uint32_t stored) {
  shared->scribble();
  return std::exchange(value, stored);
}

/** Reads all of a record, so that ASan looks at each byte. */
uint32_t sum(const Record& record) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < record.length; ++i) total += static_cast<uint32_t>(record.data[i]);
  return total;
}

using Sends = BasicProducer<ScribbledWord>;
using Receives = BasicConsumer<ScribbledWord>;

void step(Sends& producer, Receives& consumer, uint8_t what) {
  const uint32_t length = (what >> 3) * 2u % (producer.lengthMax() + 1);
  Record record;
  switch (what & 7) {
    case 0:
    case 1:
      if (std::byte* place = producer.loan(length)) {
        std::memset(place, what, length);
        producer.commit(length);
      }
      break;
    case 2:
      (void)producer.publish();
      break;
    case 3:
      (void)producer.publish();
      if (producer.announceWait(length)) producer.cancelWait();
      break;
    case 4:
    case 5: {
      const Take taken = consumer.next(record);
      CHECK((taken == Take::corrupt) == (consumer.corruption() != Corruption::none));
      if (taken == Take::record) {
        volatile uint32_t seen = sum(record);
        (void)seen;
      }
      break;
    }
    case 6:
      (void)consumer.release();
      break;
    default:
      (void)consumer.release();
      if (consumer.announceSleep()) consumer.cancelSleep();
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Shared world = {Input(data, size)};
  shared = &world;
  Sends producer(world.ring(), kShortLapWords);
  Receives consumer(world.ring());
  while (!world.input.empty()) {
    step(producer, consumer, world.input.take<uint8_t>());
    world.scribble();
  }
  return 0;
}
