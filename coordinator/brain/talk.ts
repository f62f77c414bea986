/** Fewer calls a second than this say nothing of where a component had best be. */
const CALLS_MIN = 1;

/**
 * Of all that a component and the others of its app say to each other, the share that it says to each of them, in either
 * direction. Null while there is too little to go by. `talk`: component → component called → calls/s.
 */
export function talkShares(
  component: string,
  talk: ReadonlyMap<string, ReadonlyMap<string, number>>,
): ReadonlyMap<string, number> | null {
  const rates = new Map<string, number>();
  for (const [caller, called] of talk) {
    for (const [callee, rate] of called) {
      if (caller === callee || (caller !== component && callee !== component)) continue;
      const other = caller === component ? callee : caller;
      rates.set(other, (rates.get(other) ?? 0) + rate);
    }
  }
  const total = [...rates.values()].reduce((sum, rate) => sum + rate, 0);
  if (!(total >= CALLS_MIN)) return null;
  return new Map([...rates].map(([other, rate]) => [other, rate / total]));
}
