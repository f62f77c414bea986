import { normalFrom } from '../brain/forecast/random.js';
import { poisson, stream } from './dice.js';
import { everySecond, peakOf, type Trace } from './trace.js';

/** Bursts fade with this time constant. */
const BURST_SECONDS = 10;

/**
 * Requests of each second: between the rows of the trace the rate goes in straight lines, `peak` requests a second at its
 * highest row; in each second a Poisson number of them comes. `burst`: standard deviation of the logarithm by which the
 * rate itself wanders around that, in a first-order autoregression that fades in ten seconds.
 */
export function drawArrivals(
  trace: Trace,
  peak: number,
  { burst, seed }: { burst: number; seed: number },
): { expected: Float64Array; arrived: Float64Array } {
  const factor = peak / peakOf(trace);
  const expected = everySecond(trace).map((load) => load * factor);
  const random = stream(seed, 'arrivals');
  const kept = Math.exp(-1 / BURST_SECONDS);
  let wander = burst > 0 ? normalFrom(random) : 0;
  const arrived = expected.map((rate) => {
    if (burst === 0) return poisson(rate, random);
    wander = kept * wander + Math.sqrt(1 - kept * kept) * normalFrom(random);
    // Without changing the mean.
    return poisson(rate * Math.exp(burst * wander - (burst * burst) / 2), random);
  });
  return { expected, arrived };
}
