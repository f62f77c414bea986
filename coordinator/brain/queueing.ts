/**
 * Mean time in the system of a request, in units of its service time, with `servers` servers busy to the share ρ, when each
 * request goes to the less loaded of two servers chosen at random, as the SDK does. With exponential times the share of
 * servers that hold at least k requests is ρ^(1 + 2 + 4 + … + 2^(k−1)) for very many servers (Mitzenmacher, IEEE TPDS 12
 * (2001) 1094). Few servers even each other out no better than one common queue, so that the terms of the exponent are
 * held at the number of servers: for one that is M/M/1, for two the mean of M/M/2. The latency that is learned starts from
 * it as M/G/c does from M/M/c: what waits is stretched by (ca² + cs²)/2 (Allen and Cunneen; see Allen, Probability,
 * Statistics, and Queueing Theory, 2nd ed. 1990, section 5.3), which is part of what is learned.
 */
export function timeInSystem(utilisation: number, servers: number): number {
  const rho = Math.min(UTILISATION_MAX, Math.max(0, utilisation));
  const c = Math.max(1, servers);
  // Σ s(k) / ρ with s(1) = ρ, s(k + 1) = s(k) · ρ^min(2^k, c).
  let share = 1;
  let sum = 1;
  let width = 2;
  let factor = rho * rho;
  while (width < c && share > 1e-9) {
    share *= factor;
    sum += share;
    factor *= factor;
    width *= 2;
  }
  if (share <= 1e-9) return sum;
  const last = rho ** c;
  return sum + (share * last) / (1 - last);
}

/** Beyond it a queue has no steady state that could be reckoned with. */
export const UTILISATION_MAX = 0.99;
