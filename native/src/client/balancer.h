#pragma once

#include <cstddef>
#include <optional>
#include <random>
#include <vector>

/** Which instance gets a call, as protocol/balancer.ts. */
namespace shoal::client {

struct Candidate {
  /** Its place in the route. */
  size_t at;
  /** Above 0. */
  double weight;
  /** Calls outstanding, for its weight. */
  double load;
};

/**
 * Of two drawn at random, each as often as its weight says, the one with the lesser load; of equals the first drawn
 * (Mitzenmacher, IEEE TPDS 12 (2001) 1094).
 */
template <class Random>
std::optional<Candidate> pickLessLoaded(std::vector<Candidate> candidates, Random& random) {
  std::optional<Candidate> chosen;
  for (int draw = 0; draw < 2 && !candidates.empty(); ++draw) {
    std::vector<double> weights;
    for (const Candidate& each : candidates) weights.push_back(each.weight);
    const size_t at = std::discrete_distribution<size_t>(weights.begin(), weights.end())(random);
    const Candidate drawn = candidates[at];
    candidates.erase(candidates.begin() + static_cast<ptrdiff_t>(at));
    if (!chosen || drawn.load < chosen->load) chosen = drawn;
  }
  return chosen;
}

/** A call to another host costs as much as waiting for so many calls on the own one. */
inline constexpr double kNearHeadStart = 8;

/** One of the same host until those are so much more loaded than one elsewhere. */
template <class Random>
std::optional<Candidate> pickNearer(std::vector<Candidate> near, std::vector<Candidate> far, Random& random) {
  const std::optional<Candidate> nearest = pickLessLoaded(std::move(near), random);
  if (nearest && nearest->load <= kNearHeadStart) return nearest;
  const std::optional<Candidate> farthest = pickLessLoaded(std::move(far), random);
  if (!nearest || !farthest) return nearest ? nearest : farthest;
  return nearest->load - farthest->load > kNearHeadStart ? farthest : nearest;
}

}  // namespace shoal::client
