/**
 * One way of 64 bytes between two processes by iceoryx, both of which poll, as fabric_bench.cc measures rings: loaned,
 * published, taken and released, to and fro. Needs its daemon, iox-roudi. Prints one line of JSON for each round.
 *
 *     iceoryx-bench ROUNDS
 */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"

using Clock = std::chrono::steady_clock;

namespace {

constexpr uint32_t kBytes = 64;
constexpr int kTrips = 20'000;
constexpr int kWarmUp = kTrips / 10;

void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

iox::capro::IdString_t text(const std::string& name) {
  return {iox::cxx::TruncateToCapacity, name.c_str(), name.size()};
}

/** One of the two processes: publishes what the other takes. */
class End {
 public:
  End(const std::string& pair, const std::string& sends, const std::string& takes)
      : publisher_({text("shoal"), text(pair), text(sends)}), subscriber_({text("shoal"), text(pair), text(takes)}) {
    while (!publisher_.hasSubscribers() || subscriber_.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED) {
      sched_yield();
    }
  }

  void send() {
    publisher_.loan(kBytes)
        .and_then([this](void*& chunk) {
          std::memset(chunk, 1, kBytes);
          publisher_.publish(chunk);
        })
        .or_else([](const auto&) { CHECK(false); });
  }

  void take() {
    for (bool taken = false; !taken;) {
      subscriber_.take().and_then([&](const void* chunk) {
        CHECK(static_cast<const char*>(chunk)[kBytes - 1] == 1);
        subscriber_.release(chunk);
        taken = true;
      });
    }
  }

 private:
  iox::popo::UntypedPublisher publisher_;
  iox::popo::UntypedSubscriber subscriber_;
};

void start(const std::string& name) {
  iox::runtime::PoshRuntime::initRuntime({iox::cxx::TruncateToCapacity, name.c_str(), name.size()});
}

void answer(const std::string& pair, int rounds) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pin(1);
  start(pair + "-there");
  End end(pair, "back", "forth");
  for (int i = 0; i < rounds * (kTrips + kWarmUp); ++i) {
    end.take();
    end.send();
  }
}

void measure(End& end) {
  std::vector<double> oneWay;
  for (int i = 0; i < kTrips + kWarmUp; ++i) {
    const auto began = Clock::now();
    end.send();
    end.take();
    const std::chrono::duration<double, std::nano> took = Clock::now() - began;
    if (i >= kWarmUp) oneWay.push_back(took.count() / 2);
  }
  std::sort(oneWay.begin(), oneWay.end());
  const auto at = [&](double q) { return oneWay[static_cast<size_t>(q * static_cast<double>(oneWay.size() - 1))]; };
  std::printf("{\"name\":\"iceoryx\",\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", at(0.5), at(0.99), at(1));
}

}  // namespace

int main(int count, char** words) {
  const int rounds = count > 1 ? std::atoi(words[1]) : 1;
  const std::string pair = "shoal-bench-" + std::to_string(getpid());
  // Each process is one of iceoryx' own, so they part before it begins.
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    answer(pair, rounds);
    return 0;
  }
  pin(0);
  start(pair + "-here");
  End end(pair, "forth", "back");
  for (int round = 0; round < rounds; ++round) measure(end);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}
