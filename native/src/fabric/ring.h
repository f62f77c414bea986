#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "fabric/layout.h"

/**
 * A single-producer single-consumer ring of records in memory that two processes share.
 *
 *     Producer producer(ring);                        Consumer consumer(ring);
 *     if (std::byte* place = producer.loan(5)) {      Record record;
 *       std::memcpy(place, "hello", 5);               while (consumer.next(record) == Take::record) use(record);
 *       producer.commit(5);                           if (consumer.release()) bell.strike();
 *     }
 *     if (producer.publish()) bell.strike();
 *
 * Memory order. Records are plain bytes. publish() stores `tail` after them and the consumer reads `tail` before them,
 * a release and an acquire: who sees a tail sees the records before it. In the same way release() stores `head` after
 * the last read and the producer reads `head` before it writes there again. Nobody writes what the other may still
 * read.
 *
 * Waking. Who wants to sleep stores its flag, then reads the other's position once more (announceSleep, announceWait);
 * who moves a position stores it, then reads the flag (publish, release). All four are sequentially consistent, thus in
 * one order that both agree on: either the flag comes before the mover's read of it, and the mover strikes the bell, or
 * the move comes before the sleeper's second look, and it does not sleep. native/test/wake_test.cc tries every order.
 *
 * A hostile peer may write anything anywhere at any time. Each end keeps its own positions in private memory, reads a
 * shared word once, checks what it read against them, and uses the copy. What does not fit ends the ring for good.
 */
namespace shoal::fabric {

/** Why a ring was given up. */
enum class Corruption { none, position, length, flags };

template <class Word>
struct BasicRing {
  RingControl<Word>* control;
  std::byte* data;
  uint32_t bytes;
};

/** What both ends have in common: the ring, and the place of a position in it. */
template <class Word>
class RingEnd {
 public:
  Corruption corruption() const { return corruption_; }

 protected:
  explicit RingEnd(BasicRing<Word> ring) : control_(ring.control), data_(ring.data), words_(ring.bytes / kWordBytes) {}

  std::byte* at(uint32_t position) const { return data_ + static_cast<size_t>(position & (words_ - 1)) * kWordBytes; }
  uint32_t wordsToEnd(uint32_t position) const { return words_ - (position & (words_ - 1)); }
  /** A header is read and written as one word: never seen by halves, whatever the other end does. */
  std::atomic_ref<uint64_t> headerAt(uint32_t position) const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at(position)));
  }

  RingControl<Word>* control_;
  std::byte* data_;
  uint32_t words_;
  Corruption corruption_ = Corruption::none;
};

template <class Word>
class BasicProducer : private RingEnd<Word> {
  using Base = RingEnd<Word>;

 public:
  /** Goes on where the ring stands. */
  explicit BasicProducer(BasicRing<Word> ring)
      : Base(ring), written_(ring.control->tail.load()), published_(written_), released_(ring.control->head.load()) {
    if (published_ - released_ > this->words_) this->corruption_ = Corruption::position;
  }

  using Base::corruption;
  uint32_t lengthMax() const { return recordBytesMax(this->words_ * kWordBytes); }

  /** Whether a loan succeeds. The consumer's line is fetched only when the last known head is not enough. */
  bool hasRoom(uint32_t length) {
    if (this->corruption_ == Corruption::none && !fits(length)) look(this->control_->head.loadAcquire());
    return this->corruption_ == Corruption::none && fits(length);
  }

  /** Place for a record of up to `length` bytes, at most lengthMax(); nullptr while there is no room, or corruption().
   */
  std::byte* loan(uint32_t length) {
    assert(length <= lengthMax());
    if (!hasRoom(length)) return nullptr;
    const uint32_t end = this->wordsToEnd(written_);
    if (recordWords(length) > end) put((end - 1) * kWordBytes, kFlagPadding);
    loaned_ = length;
    return this->at(written_) + kWordBytes;
  }

  /** Ends the loan; fewer bytes than were asked for may be used. The consumer sees nothing before publish(). */
  void commit(uint32_t length, bool more = false) {
    assert(length <= loaned_);
    put(length, more ? kFlagMore : 0);
    loaned_ = 0;
  }

  /** Shows the consumer all that was committed, by one store. True: it sleeps, strike its bell. */
  [[nodiscard]] bool publish() {
    if (published_ == written_) return false;
    published_ = written_;
    this->control_->tail.store(published_);
    return this->control_->consumerSleeps.load() != 0 && this->control_->consumerSleeps.exchange(0) != 0;
  }

  /** Before sleeping until a loan succeeds; publish() comes first. False: do not sleep, there is room or corruption().
   */
  [[nodiscard]] bool announceWait(uint32_t length) {
    assert(published_ == written_);
    this->control_->producerSleeps.store(1);
    look(this->control_->head.load());
    if (this->corruption_ == Corruption::none && !fits(length)) return true;
    cancelWait();
    return false;
  }
  void cancelWait() { this->control_->producerSleeps.store(0); }

 private:
  /** Padding included, where the record would not fit before the end. */
  bool fits(uint32_t length) const {
    const uint32_t words = recordWords(length);
    const uint32_t end = this->wordsToEnd(written_);
    return written_ - released_ + words + (words > end ? end : 0) <= this->words_;
  }

  void look(uint32_t head) {
    if (head - released_ > published_ - released_) {
      this->corruption_ = Corruption::position;
    } else {
      released_ = head;
    }
  }

  void put(uint32_t length, uint32_t flags) {
    this->headerAt(written_).store(length | static_cast<uint64_t>(flags) << 32, std::memory_order_relaxed);
    written_ += recordWords(length);
  }

  uint32_t written_;
  uint32_t published_;
  /** The last head that was seen. */
  uint32_t released_;
  uint32_t loaned_ = 0;
};

/** Borrowed from the ring until release(). The peer can still change the bytes: look at them once, or copy first. */
struct Record {
  const std::byte* data = nullptr;
  uint32_t length = 0;
  bool more = false;
};

enum class Take { record, empty, corrupt };

template <class Word>
class BasicConsumer : private RingEnd<Word> {
  using Base = RingEnd<Word>;

 public:
  /** Goes on where the ring stands. */
  explicit BasicConsumer(BasicRing<Word> ring)
      : Base(ring),
        lengthMax_(recordBytesMax(ring.bytes)),
        seen_(ring.control->head.load()),
        taken_(seen_),
        released_(seen_) {}

  using Base::corruption;

  /** The next record. */
  [[nodiscard]] Take next(Record& record) {
    while (ready()) {
      const uint64_t header = this->headerAt(taken_).load(std::memory_order_relaxed);
      const auto length = static_cast<uint32_t>(header);
      const auto flags = static_cast<uint32_t>(header >> 32);
      if (!isSound(length, flags)) return Take::corrupt;
      record = {this->at(taken_) + kWordBytes, length, flags == kFlagMore};
      taken_ += recordWords(length);
      if (flags != kFlagPadding) return Take::record;
    }
    return this->corruption_ == Corruption::none ? Take::empty : Take::corrupt;
  }

  /** Whether next() has something to look at. Reads shared memory only when all that was seen is taken. */
  bool ready() {
    if (taken_ == seen_) look(this->control_->tail.loadAcquire());
    return this->corruption_ == Corruption::none && taken_ != seen_;
  }

  /** Gives back all records that were taken, by one store. True: the producer waits for room, strike its bell. */
  [[nodiscard]] bool release() {
    if (released_ == taken_) return false;
    released_ = taken_;
    this->control_->head.store(released_);
    // Half a ring has room for any record, thus a producer that waits for more of it would be woken for little.
    if (seen_ - released_ > this->words_ / 2) return false;
    return this->control_->producerSleeps.load() != 0 && this->control_->producerSleeps.exchange(0) != 0;
  }

  /** Before sleeping until there is a record; release() comes first. False: do not sleep, there is one by now. */
  [[nodiscard]] bool announceSleep() {
    assert(released_ == taken_);
    this->control_->consumerSleeps.store(1);
    if (taken_ == seen_) look(this->control_->tail.load());
    if (this->corruption_ == Corruption::none && taken_ == seen_) return true;
    cancelSleep();
    return false;
  }
  void cancelSleep() { this->control_->consumerSleeps.store(0); }

  /** While spinning: fetches the line of the next record along with that of the tail. */
  void prefetch() const { __builtin_prefetch(this->at(taken_)); }

 private:
  void look(uint32_t tail) {
    if (tail - released_ > this->words_ || tail - released_ < seen_ - released_) {
      this->corruption_ = Corruption::position;
    } else {
      seen_ = tail;
    }
  }

  bool isSound(uint32_t length, uint32_t flags) {
    if (flags > kFlagPadding) {
      this->corruption_ = Corruption::flags;
    } else if (length > lengthMax_) {
      this->corruption_ = Corruption::length;
    } else if (const uint32_t words = recordWords(length), end = this->wordsToEnd(taken_);
               words > seen_ - taken_ || words > end || (flags == kFlagPadding && words != end)) {
      this->corruption_ = Corruption::length;
    }
    return this->corruption_ == Corruption::none;
  }

  uint32_t lengthMax_;
  /** The last tail that was seen. */
  uint32_t seen_;
  uint32_t taken_;
  uint32_t released_;
};

using Ring = BasicRing<SharedWord>;
using Producer = BasicProducer<SharedWord>;
using Consumer = BasicConsumer<SharedWord>;

}  // namespace shoal::fabric
