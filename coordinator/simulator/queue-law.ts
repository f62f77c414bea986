/**
 * Requests that are sent to the less loaded of two servers chosen at random: of `servers` servers at utilisation ρ the
 * share that holds at least k requests is
 *
 *     s(k) = ρ^e(k),  e(k) = Σ_{i=1…k} min(2^(i−1), servers).
 *
 * For one server that is M/M/1; for infinitely many it is the exact law of two choices (Mitzenmacher, IEEE TPDS 12
 * (2001) 1094, and Vvedenskaya et al. 1996); in between the tail falls with ρ^servers, as it must for any rule that keeps
 * the servers even. With two servers its mean is that of M/M/2. Checked against the simulated events in the tests.
 *
 * Service times other than exponential stretch what waits by (1 + variation²) / 2, as in Pollaczek's formula.
 */
export interface QueueLaw {
  /** Requests at a server on average, the one in service included. */
  jobs: number;
  /** Derivative of `jobs` by ρ. */
  slope: number;
}

/** Above this utilisation a queue is taken as a backlog that is worked off, not as one in balance. */
export const UTILISATION_MAX = 0.995;

export function meanJobs(servers: number, stretch: number, rho: number): QueueLaw {
  let share = rho;
  let exponent = 1;
  let jobs = share;
  let slope = 1;
  let width = 2;
  let power = rho * rho;
  while (width < servers && share > 1e-12) {
    share *= power;
    exponent += width;
    jobs += stretch * share;
    slope += (stretch * exponent * share) / rho;
    power *= power;
    width *= 2;
  }
  if (share > 1e-12) {
    // From here on each share is `ratio` times the one before.
    const ratio = rho ** servers;
    const rest = (share * ratio) / (1 - ratio);
    jobs += stretch * rest;
    slope += (stretch * rest * (exponent + servers / (1 - ratio))) / Math.max(rho, 1e-300);
  }
  return { jobs, slope };
}

/**
 * The ρ at which meanJobs + drain·ρ = target: what is in the queue after a step in which `drain` requests could have been
 * served by each server (implicit Euler). Null when no ρ up to UTILISATION_MAX reaches it. The left side is convex and
 * rises, so that Newton's method gets there from any side.
 */
export function utilisationAfter(
  servers: number,
  stretch: number,
  drain: number,
  target: number,
  guess: number,
): number | null {
  const top = meanJobs(servers, stretch, UTILISATION_MAX).jobs + drain * UTILISATION_MAX;
  if (target >= top) return null;
  let rho = Math.min(UTILISATION_MAX, Math.max(1e-9, guess));
  for (let round = 0; round < 60; round += 1) {
    const { jobs, slope } = meanJobs(servers, stretch, rho);
    const step = (jobs + drain * rho - target) / (slope + drain);
    const next = Math.min(UTILISATION_MAX, Math.max(rho / 16, rho - step));
    if (Math.abs(next - rho) <= 1e-10) return next;
    rho = next;
  }
  return rho;
}

/**
 * Of a request that arrives: the probability to become number 1, 2, … at its server. Whatever the rule, the rate at which
 * servers come to hold k + 1 requests equals that at which they leave that state, so P(number > k) = s(k + 1) / ρ.
 * Fills `into` from index 1 on; the last one holds the rest. Answers the highest index used.
 */
export function placeInQueue(servers: number, rho: number, into: Float64Array): number {
  const last = into.length - 1;
  if (rho < 1e-9) {
    into[1] = 1;
    return 1;
  }
  let share = rho;
  let width = 2;
  let power = rho * rho;
  const ratio = rho ** servers;
  for (let number = 1; number < last; number += 1) {
    const factor = width < servers ? power : ratio;
    const next = share * factor;
    into[number] = (share - next) / rho;
    if (next < 1e-9 * rho) return number;
    share = next;
    if (width < servers) {
      power *= power;
      width *= 2;
    }
  }
  into[last] = share / rho;
  return last;
}
