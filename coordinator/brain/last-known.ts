/**
 * The function, worked out anew only for another value than the last one. For what is asked of each component each second
 * with the same number: powers and logarithms of the length of a tick.
 */
export function lastKnown(of: (value: number) => number): (value: number) => number {
  let last = Number.NaN;
  let known = Number.NaN;
  return (value) => {
    if (value !== last) {
      last = value;
      known = of(value);
    }
    return known;
  };
}

/** The share by which a mean over about so many seconds moves in a step, by the length of the step in seconds. */
export function shareOver(seconds: number): (stepSeconds: number) => number {
  return lastKnown((stepSeconds) => 1 - Math.exp(-stepSeconds / seconds));
}
