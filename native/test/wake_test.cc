/** Tries every order in which the two ends of a ring can meet while they go to sleep: nobody sleeps for ever. */
#include <cstring>
#include <optional>

#include "check.h"
#include "fabric/ring.h"
#include "fabric/wait.h"
#include "interleavings.h"

using namespace shoal::fabric;
using shoal::test::Interleavings;
using shoal::test::ModelBell;
using shoal::test::ModelWord;

namespace {

/** Of 8 words: the longest record takes two of them. */
constexpr uint32_t kRingBytes = 64;

struct Scenario {
  const char* name;
  uint32_t records;
  /** How many records the producer publishes by one store, and the consumer gives back by one. */
  uint32_t batch;
  uint32_t lapWords;
};

template <class Word>
struct World {
  RingControl<Word> control;
  alignas(8) std::byte data[kRingBytes] = {};
  size_t bells[2] = {Interleavings::current()->addBell(), Interleavings::current()->addBell()};

  void produce(const Scenario& scenario) {
    BasicProducer<Word> producer({&control, data, kRingBytes}, scenario.lapWords);
    ModelBell bell(bells[0], bells[1]);
    for (uint32_t sent = 0; sent < scenario.records; ++sent) {
      Interleavings::current()->standsAt(producer, sent);
      std::byte* place = producer.loan(sizeof sent);
      while (place == nullptr) {
        if (producer.publish()) bell.strike();
        CHECK(sleepUntilRoom(producer, bell, sizeof sent, -1) == Wait::ready);
        place = producer.loan(sizeof sent);
      }
      std::memcpy(place, &sent, sizeof sent);
      producer.commit(sizeof sent);
      const bool full = (sent + 1) % scenario.batch == 0 || sent + 1 == scenario.records;
      if (full && producer.publish()) bell.strike();
    }
  }

  void consume(const Scenario& scenario) {
    BasicConsumer<Word> consumer({&control, data, kRingBytes});
    ModelBell bell(bells[1], bells[0]);
    for (uint32_t received = 0; received < scenario.records;) {
      Interleavings::current()->standsAt(consumer, received);
      Record record;
      const Take taken = consumer.next(record);
      CHECK(taken != Take::corrupt);
      if (taken == Take::record) {
        CHECK(record.length == sizeof received && std::memcmp(record.data, &received, sizeof received) == 0);
        received += 1;
      }
      if ((taken == Take::empty || received % scenario.batch == 0) && consumer.release()) bell.strike();
      if (taken == Take::empty) CHECK(sleepUntilRecord(consumer, bell, -1) == Wait::ready);
    }
  }
};

template <class Word>
Interleavings::Result explore(const Scenario& scenario) {
  std::optional<World<Word>> world;
  return Interleavings::explore([&]() -> Interleavings::Threads {
    world.emplace();
    return {[&] { world->produce(scenario); }, [&] { world->consume(scenario); }};
  });
}

/** A mistake that only weak memory shows: the second look does not wait until the flag is seen. */
class HastyWord : public ModelWord {
 public:
  uint32_t load() const { return loadAcquire(); }
};

}  // namespace

int main() {
  const Scenario scenarios[] = {{"few records, room for all", 3, 1, kLapWords},
                                {"more records than room", 6, 1, kLapWords},
                                {"in batches", 6, 2, kLapWords},
                                {"in batches, with a rest", 7, 3, kLapWords},
                                {"in laps", 6, 1, 4},
                                {"in batches and laps", 6, 2, 4}};
  for (const Scenario& scenario : scenarios) {
    const Interleavings::Result result = explore<ModelWord>(scenario);
    if (!result.stuck.empty())
      std::fprintf(stderr, "%s: sleeps for ever after\n%s", scenario.name, result.stuck.c_str());
    CHECK(result.stuck.empty());
    std::printf("wake_test: %s: %zu states, %zu runs\n", scenario.name, result.states, result.runs);
    CHECK(!explore<HastyWord>(scenario).stuck.empty());
  }
  std::puts("wake_test: all passed");
}
