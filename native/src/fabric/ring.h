#pragma once

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
 * Memory order. The consumer waits at the header of the next record, which is 0 until there is one. publish() stores
 * the header of the first new record after all else that is new: the other records, their headers, and the 0 after the
 * last. It is a release and the consumer's read an acquire: who sees the first header sees all that came before. In the
 * same way release() stores `head` after the last read, and the producer reads `head` before it writes there again.
 * Nobody writes what the other may still read. The news is in the record's own cache line, not at a position
 * elsewhere: one line less to wait for.
 *
 * Waking. Who wants to sleep stores its flag, then looks once more (announceSleep, announceWait); who has news stores
 * it, then reads the flag (publish, release). All four are sequentially consistent, thus in one order that both agree
 * on: either the flag comes before the other's read of it, and the bell is struck, or the news comes before the
 * sleeper's second look, and it does not sleep. native/test/wake_test.cc tries every order.
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

  uint32_t longest() const { return recordBytesMax(words_ * kWordBytes); }
  uint32_t wordsToEnd(uint32_t position) const { return words_ - (position & (words_ - 1)); }
  std::byte* at(uint32_t position) const { return data_ + size_t{position & (words_ - 1)} * kWordBytes; }
  Word& headerAt(uint32_t position) const { return *reinterpret_cast<Word*>(at(position)); }
  std::byte* bytesAt(uint32_t position) const { return at(position) + sizeof(RecordHeader); }

  RingControl<Word>* control_;
  std::byte* data_;
  uint32_t words_;
  Corruption corruption_ = Corruption::none;
};

/** A ring has one producer in its life, which finds it empty. */
template <class Word>
class BasicProducer : private RingEnd<Word> {
  using Base = RingEnd<Word>;

 public:
  explicit BasicProducer(BasicRing<Word> ring, uint32_t lapWords = kLapWords)
      : Base(ring),
        written_(ring.control->head.load()),
        published_(written_),
        released_(written_),
        lapBegan_(written_),
        lapWords_(lapWords) {}

  /** Goes through all of the ring: where its records are then follows from their lengths alone. */
  void goThrough() { lapWords_ = UINT32_MAX; }

  using Base::corruption;
  uint32_t lengthMax() const { return this->longest(); }

  /** Whether a loan succeeds. The consumer's line is fetched only when the last known head is not enough. */
  bool hasRoom(uint32_t length) {
    if (this->corruption_ == Corruption::none && !fits(length)) {
      look(this->control_->head.loadAcquire());
      if (!fits(length)) goThrough();
    }
    return this->corruption_ == Corruption::none && fits(length);
  }

  /** Place for a record of up to `length` bytes, at most lengthMax(); nullptr while there is no room, or corruption().
   */
  std::byte* loan(uint32_t length) {
    assert(length <= lengthMax());
    if (written_ - lapBegan_ >= lapWords_) beginLap(length);
    if (!hasRoom(length)) return nullptr;
    const uint32_t end = this->wordsToEnd(written_);
    if (recordWords(length) > end) put((end - 1) * kWordBytes, kFlagPadding);
    return this->bytesAt(written_);
  }

  /** Ends the loan; fewer bytes than were asked for may be used. The consumer sees nothing before publish(). */
  void commit(uint32_t length, bool more = false) {
    assert(fits(length));
    put(length, more ? kFlagMore : 0);
  }

  /** Shows the consumer all that was committed, by one store. True: it sleeps, strike its bell. */
  [[nodiscard]] bool publish() {
    if (published_ == written_) return false;
    this->headerAt(published_).store(first_);
    published_ = written_;
    this->control_->tail.storeRelease(published_);
    return this->control_->consumerSleeps.load() != 0 && this->control_->consumerSleeps.exchange(0) != 0;
  }

  /** Whether the consumer has given back all that was published. */
  bool drained() {
    if (this->corruption_ == Corruption::none) look(this->control_->head.loadAcquire());
    return released_ == published_;
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

  /** Where the next record begins, and up to where the consumer has given back, as of now. */
  uint32_t position() const { return written_; }
  uint32_t released() {
    if (this->corruption_ == Corruption::none) look(this->control_->head.loadAcquire());
    return released_;
  }

  /** announceWait() for who wants no room now, but to be told when the ring is half empty. */
  [[nodiscard]] bool announceWaitForHalf() {
    assert(published_ == written_);
    this->control_->producerSleeps.store(1);
    look(this->control_->head.load());
    if (this->corruption_ == Corruption::none && written_ - released_ > this->words_ / 2) return true;
    cancelWait();
    return false;
  }

 private:
  /** With the padding, where the record would not fit before the end, and the 0 that says that no other follows. */
  bool fits(uint32_t length) const {
    const uint32_t words = recordWords(length);
    const uint32_t end = this->wordsToEnd(written_);
    return written_ - released_ + words + (words > end ? end : 0) + 1 <= this->words_;
  }

  /**
   * Goes back to the ring's begin, by padding, when the consumer has given all back: two ends that never have much
   * under way stay in the few lines that both have in their nearest caches. Not for a record that would have to wait
   * then.
   */
  void beginLap(uint32_t length) {
    lapBegan_ = written_;
    const uint32_t end = this->wordsToEnd(written_);
    const uint32_t behind = this->words_ - end;
    if (written_ != published_ || behind < lapWords_ || behind <= recordWords(length) || !drained()) return;
    put((end - 1) * kWordBytes, kFlagPadding);
    lapBegan_ = written_;
  }

  void look(uint32_t head) {
    if (head - released_ > published_ - released_) {
      this->corruption_ = Corruption::position;
    } else {
      released_ = head;
    }
  }

  void put(uint32_t length, uint32_t flags) {
    const uint32_t header = kFlagPresent | flags | length;
    const uint32_t next = written_ + recordWords(length);
    this->headerAt(next).storeRelease(0);
    if (written_ == published_) {
      first_ = header;
    } else {
      this->headerAt(written_).storeRelease(header);
    }
    written_ = next;
  }

  uint32_t written_;
  uint32_t published_;
  /** The last head that was seen. */
  uint32_t released_;
  /** The header at published_, to be stored by publish(). */
  uint32_t first_ = 0;
  uint32_t lapBegan_;
  /** More than any ring has once that was full: who sends in bursts needs all of it. */
  uint32_t lapWords_;
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
  explicit BasicConsumer(BasicRing<Word> ring) : Base(ring), taken_(ring.control->head.load()), released_(taken_) {}

  using Base::corruption;

  /** The next record. */
  [[nodiscard]] Take next(Record& record) {
    while (this->corruption_ == Corruption::none) {
      const uint32_t header = this->headerAt(taken_).loadAcquire();
      if (header == 0) return Take::empty;
      const uint32_t length = header & kLengthMask;
      const uint32_t flags = header & ~kLengthMask & ~kFlagPresent;
      if (!isSound(header, length, flags)) break;
      record = {this->bytesAt(taken_), length, flags == kFlagMore};
      taken_ += recordWords(length);
      if (flags != kFlagPadding) return Take::record;
    }
    return Take::corrupt;
  }

  /** Whether next() would not find the ring empty. */
  bool ready() const { return this->corruption_ != Corruption::none || this->headerAt(taken_).loadAcquire() != 0; }

  /** Gives back all records that were taken, by one store. True: the producer waits for room, strike its bell. */
  [[nodiscard]] bool release() {
    if (released_ == taken_) return false;
    released_ = taken_;
    this->control_->head.store(released_);
    if (this->control_->producerSleeps.load() == 0) return false;
    // Half a ring has room for any record, thus a producer that waits for more of it would be woken for little.
    const uint32_t used = this->control_->tail.loadAcquire() - released_;
    if (used > this->words_ / 2 && used <= this->words_) return false;
    return this->control_->producerSleeps.exchange(0) != 0;
  }

  /** Before sleeping until there is a record; release() comes first. False: do not sleep, ready(). */
  [[nodiscard]] bool announceSleep() {
    assert(released_ == taken_);
    this->control_->consumerSleeps.store(1);
    if (this->corruption_ == Corruption::none && this->headerAt(taken_).load() == 0) return true;
    cancelSleep();
    return false;
  }
  void cancelSleep() { this->control_->consumerSleeps.store(0); }

 private:
  bool isSound(uint32_t header, uint32_t length, uint32_t flags) {
    const uint32_t words = recordWords(length);
    const uint32_t end = this->wordsToEnd(taken_);
    if ((header & kFlagPresent) == 0 || flags == (kFlagMore | kFlagPadding)) {
      this->corruption_ = Corruption::flags;
    } else if (words > end || (flags == kFlagPadding ? words != end : length > this->longest())) {
      this->corruption_ = Corruption::length;
    } else if (taken_ + words - released_ >= this->words_) {
      this->corruption_ = Corruption::position;  // over what was not given back
    }
    return this->corruption_ == Corruption::none;
  }

  uint32_t taken_;
  uint32_t released_;
};

using Ring = BasicRing<SharedWord>;
using Producer = BasicProducer<SharedWord>;
using Consumer = BasicConsumer<SharedWord>;

}  // namespace shoal::fabric
