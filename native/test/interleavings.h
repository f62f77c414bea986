#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "check.h"
#include "fabric/wait.h"

/**
 * Runs a few threads in every possible order, as a small model checker: the threads are fibers that give way before
 * each access to what they share, a depth-first search over all choices runs them again and again, and a state that was
 * seen before is not gone into twice. (What a thread has read so far determines where it stands, thus the state is what
 * each has read, and the memory.)
 *
 * Memory is weak: a store waits in its thread's buffer until the search lets it reach memory, and only a sequentially
 * consistent load or an exchange waits for the buffer. Stores of one thread stay in order, since all of ours are
 * release stores at least. Every order that x86, or Arm with its stlr and ldar, can show is among those tried.
 */
namespace shoal::test {

struct Operation {
  enum Kind { load, loadAcquire, store, exchange, strike, listen } kind;
  /** Of the word, or of the bell. */
  size_t index;
  uint32_t value = 0;
};

class Interleavings {
 public:
  struct Result {
    size_t states = 0;
    size_t runs = 0;
    /** A thread sleeps for ever: what led to it. Empty when that cannot happen. */
    std::string stuck;
  };
  using Threads = std::vector<std::function<void()>>;

  /** `setUp` makes a fresh world and its threads, which are the same each time. */
  static Result explore(const std::function<Threads()>& setUp) {
    Interleavings search;
    current() = &search;
    do {
      search.run(setUp);
      search.result_.runs += 1;
    } while (search.result_.stuck.empty() && search.nextPath());
    search.result_.states = search.seen_.size();
    return search.result_;
  }

  static Interleavings*& current() {
    static Interleavings* search = nullptr;
    return search;
  }

  /** The word at an address: 0 at first. The same in each run, because the world is at the same place in each. */
  size_t wordAt(const void* address) { return words_.try_emplace(address, words_.size()).first->second; }
  size_t addBell() {
    strikes_.push_back(0);
    return strikes_.size() - 1;
  }

  /** Called in a thread: all that it will do follows from `object` and `count`, whatever it has read before. */
  template <class Object>
  void standsAt(const Object& object, uint32_t count) {
    static_assert(std::has_unique_object_representations_v<Object>);
    running_->history = kNothingRead;
    const auto* bytes = reinterpret_cast<const unsigned char*>(&object);
    for (size_t i = 0; i < sizeof object; ++i) remember(*running_, bytes[i]);
    remember(*running_, count);
  }

  /** Called in a thread: does the operation when the search says so. Outside of any, at once. */
  uint32_t perform(Operation operation) {
    if (running_ == nullptr) return apply(operation, nullptr);
    Thread& self = *running_;
    self.pending = operation;
    swapcontext(&self.context, &scheduler_);
    return self.answer;
  }

 private:
  struct Store {
    size_t word;
    uint32_t value;
  };
  struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    std::function<void()> body;
    bool finished;
    Operation pending;
    uint32_t answer;
    std::deque<Store> buffer;
    /** A hash (FNV-1a) of what determines where the thread stands. */
    uint64_t history;
  };
  struct Choice {
    size_t taken;
    size_t options;
  };
  static constexpr size_t kStackBytes = 256 << 10;
  static constexpr uint64_t kNothingRead = 14695981039346656037u;

  static void remember(Thread& thread, uint32_t value) { thread.history = (thread.history ^ value) * 1099511628211u; }

  void run(const std::function<Threads()>& setUp) {
    std::fill(memory_.begin(), memory_.end(), 0);
    strikes_.clear();
    running_ = nullptr;
    const Threads bodies = setUp();
    threads_.resize(bodies.size());
    for (size_t i = 0; i < bodies.size(); ++i) start(threads_[i], bodies[i]);
    std::string trace;
    for (size_t depth = 0;; ++depth) {
      // Every step of the path but the last was gone when its state was new.
      if (depth >= path_.size() && !seen_.insert(state()).second) return;
      const std::vector<int> options = possible();
      if (options.empty()) {
        for (const Thread& thread : threads_)
          if (!thread.finished) result_.stuck = trace;
        return;
      }
      if (depth >= path_.size()) path_.push_back({0, options.size()});
      const int option = options[path_[depth].taken];
      trace += describe(option);
      take(option);
    }
  }

  /** The next path of the depth-first search; false after the last one. */
  bool nextPath() {
    while (!path_.empty() && path_.back().taken + 1 == path_.back().options) path_.pop_back();
    if (path_.empty()) return false;
    path_.back().taken += 1;
    return true;
  }

  void start(Thread& thread, const std::function<void()>& body) {
    thread.body = body;
    thread.finished = false;
    thread.buffer.clear();
    thread.history = kNothingRead;
    if (!thread.stack) thread.stack = std::make_unique<char[]>(kStackBytes);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = &scheduler_;
    makecontext(&thread.context, &Interleavings::enter, 0);
    resume(thread);
  }
  static void enter() {
    Thread* self = current()->running_;
    self->body();
    self->finished = true;
  }
  void resume(Thread& thread) {
    running_ = &thread;
    swapcontext(&scheduler_, &thread.context);
    running_ = nullptr;
  }

  /** 2i: thread i goes on. 2i + 1: its oldest store reaches memory. */
  std::vector<int> possible() const {
    // That a store enters its thread's own buffer changes nothing for others: no need to try it at other times.
    for (size_t i = 0; i < threads_.size(); ++i)
      if (!threads_[i].finished && threads_[i].pending.kind == Operation::store) return {static_cast<int>(2 * i)};
    std::vector<int> options;
    for (size_t i = 0; i < threads_.size(); ++i) {
      if (!threads_[i].finished && canGoOn(threads_[i])) options.push_back(static_cast<int>(2 * i));
      if (!threads_[i].buffer.empty()) options.push_back(static_cast<int>(2 * i + 1));
    }
    return options;
  }
  bool canGoOn(const Thread& thread) const {
    switch (thread.pending.kind) {
      case Operation::load:
      case Operation::exchange:
        return thread.buffer.empty();
      case Operation::listen:
        return strikes_[thread.pending.index] > 0;
      default:
        return true;
    }
  }

  void take(int option) {
    Thread& thread = threads_[static_cast<size_t>(option / 2)];
    if (option % 2 == 1) {
      memory_[thread.buffer.front().word] = thread.buffer.front().value;
      thread.buffer.pop_front();
      return;
    }
    thread.answer = apply(thread.pending, &thread);
    remember(thread, thread.answer + 1);
    resume(thread);
  }

  uint32_t apply(const Operation& operation, Thread* thread) {
    if (memory_.size() < words_.size()) memory_.resize(words_.size());
    switch (operation.kind) {
      case Operation::load:
      case Operation::loadAcquire:
        if (thread != nullptr)
          for (auto store = thread->buffer.rbegin(); store != thread->buffer.rend(); ++store)
            if (store->word == operation.index) return store->value;
        return memory_[operation.index];
      case Operation::store:
        CHECK(thread != nullptr);
        thread->buffer.push_back({operation.index, operation.value});
        return 0;
      case Operation::exchange:
        return std::exchange(memory_[operation.index], operation.value);
      case Operation::strike:
        strikes_[operation.index] += 1;
        return 0;
      case Operation::listen:
        return std::exchange(strikes_[operation.index], 0u);
    }
    return 0;
  }

  std::string state() const {
    std::string key;
    const auto add = [&key](uint64_t value) { key.append(reinterpret_cast<const char*>(&value), sizeof value); };
    for (const Thread& thread : threads_) {
      add(thread.finished ? 0 : thread.history);
      add(thread.buffer.size());
      for (const Store& store : thread.buffer) add(store.word << 32 | store.value);
    }
    for (const uint32_t value : memory_) add(value);
    for (const uint32_t count : strikes_) add(count);
    return key;
  }

  std::string describe(int option) const {
    static const char* const kNames[] = {"load", "loadAcquire", "store", "exchange", "strike", "listen"};
    const Thread& thread = threads_[static_cast<size_t>(option / 2)];
    const std::string who = "thread " + std::to_string(option / 2);
    if (option % 2 == 1) return who + ": word " + std::to_string(thread.buffer.front().word) + " reaches memory\n";
    const Operation& operation = thread.pending;
    return who + ": " + kNames[operation.kind] + " " + std::to_string(operation.index) + " (" +
           std::to_string(operation.value) + ")\n";
  }

  ucontext_t scheduler_ = {};
  Thread* running_ = nullptr;
  std::vector<Thread> threads_;
  std::unordered_map<const void*, size_t> words_;
  std::vector<uint32_t> memory_;
  std::vector<uint32_t> strikes_;
  std::vector<Choice> path_;
  std::unordered_set<std::string> seen_;
  Result result_;
};

/** Takes the place of fabric::SharedWord. */
class ModelWord {
 public:
  uint32_t load() const { return perform(Operation::load); }
  uint32_t loadAcquire() const { return perform(Operation::loadAcquire); }
  void storeRelease(uint32_t value) { perform(Operation::store, value); }
  void store(uint32_t value) { perform(Operation::store, value); }
  uint32_t exchange(uint32_t value) { return perform(Operation::exchange, value); }

 private:
  uint32_t perform(Operation::Kind kind, uint32_t value = 0) const {
    Interleavings& search = *Interleavings::current();
    return search.perform({kind, search.wordAt(this), value});
  }
};

/** Takes the place of fabric::Bell; one for each end, which strikes the other's. */
class ModelBell {
 public:
  explicit ModelBell(size_t mine, size_t peers) : mine_(mine), peers_(peers) {}
  void strike() { Interleavings::current()->perform({Operation::strike, peers_}); }
  fabric::Wait listen(int) {
    Interleavings::current()->perform({Operation::listen, mine_});
    return fabric::Wait::ready;
  }

 private:
  size_t mine_;
  size_t peers_;
};

}  // namespace shoal::test
