/**
 * The past of one series at several step lengths: rings of the means over so many ticks each, NaN where nothing was
 * known. They grow with use up to a bound. Owned and changed in place.
 */
export interface History {
  /** The shortest step first, which is a single tick. */
  readonly rings: readonly Ring[];
  /** The longer ones are told at this tick, all at once, what has come since they were last: each tick touches one ring. */
  tellAt: number;
}

export interface Ring {
  /** Length of its step, in ticks. */
  readonly ticks: number;
  /** It grows up to so many steps. */
  readonly stepsMax: number;
  values: Float32Array;
  /** Steps completed since the series began. */
  count: number;
  /** Of the step under way: ticks told, ticks known and the sum of their values. */
  passed: number;
  known: number;
  sum: number;
}

const STEPS_AT_FIRST = 64;

export function createHistory(rings: readonly Ring[]): History {
  return { rings, tellAt: tellAt(rings) };
}

export function createRing(ticks: number, stepsMax: number): Ring {
  const values = new Float32Array(Math.min(STEPS_AT_FIRST, stepsMax));
  return { ticks, stepsMax, values, count: 0, passed: 0, known: 0, sum: 0 };
}

/** Takes in a tick, NaN if unknown. Those that have completed a step have nothing passed of the next. */
export function push({ rings, tellAt }: History, value: number): boolean {
  const ticks = rings[0] as Ring;
  complete(ticks, value);
  return ticks.count >= tellAt;
}

/** Tells the longer rings what has come. */
export function tell(history: History): void {
  const [ticks, ...longer] = history.rings;
  if (ticks === undefined) return;
  for (const ring of longer) {
    for (let tick = ring.count * ring.ticks + ring.passed; tick < ticks.count; tick++) add(ring, valueAt(ticks, tick));
  }
  history.tellAt = tellAt(history.rings);
}

/** When the first of the longer ones completes a step, or the shortest would forget. */
function tellAt([ticks, ...longer]: readonly Ring[]): number {
  if (ticks === undefined) return Number.POSITIVE_INFINITY;
  return Math.min(ticks.count + ticks.stepsMax, ...longer.map((ring) => (ring.count + 1) * ring.ticks));
}

function add(ring: Ring, value: number): void {
  ring.passed += 1;
  if (!Number.isNaN(value)) {
    ring.known += 1;
    ring.sum += value;
  }
  if (ring.passed < ring.ticks) return;
  complete(ring, ring.known === 0 ? Number.NaN : ring.sum / ring.known);
  ring.passed = 0;
  ring.known = 0;
  ring.sum = 0;
}

function complete(ring: Ring, value: number): void {
  const { length } = ring.values;
  // Only before it has turned over once, so that the places stay as they are.
  if (ring.count === length && length < ring.stepsMax) grow(ring);
  ring.values[ring.count % ring.values.length] = value;
  ring.count += 1;
}

function grow(ring: Ring): void {
  const grown = new Float32Array(Math.min(2 * ring.values.length, ring.stepsMax));
  grown.set(ring.values);
  ring.values = grown;
}

/**
 * So many ticks of which nothing is known, in a time that does not grow with them: no step under way may have begun with
 * something known, but for those that are not completed.
 */
export function skip(history: History, ticks: number): void {
  tell(history);
  for (const ring of history.rings) {
    const passed = ring.passed + ticks;
    const steps = Math.floor(passed / ring.ticks);
    if (steps > 0 && ring.known > 0) throw new RangeError('a step with something known would be forgotten');
    ring.passed = passed % ring.ticks;
    skipSteps(ring, steps);
  }
  history.tellAt = tellAt(history.rings);
}

function skipSteps(ring: Ring, steps: number): void {
  while (ring.values.length < Math.min(ring.stepsMax, ring.count + steps)) grow(ring);
  const { length } = ring.values;
  const end = (ring.count + steps) % length;
  if (steps >= length) ring.values.fill(Number.NaN);
  else {
    const from = ring.count % length;
    if (from <= end) ring.values.fill(Number.NaN, from, end);
    else ring.values.fill(Number.NaN, from).fill(Number.NaN, 0, end);
  }
  ring.count += steps;
}

/** The value of a step, numbered from the beginning of the series; NaN if unknown, forgotten or still to come. */
export function valueAt(ring: Ring, step: number): number {
  const { count, values } = ring;
  if (step >= count || step < count - values.length || step < 0) return Number.NaN;
  return values[step % values.length] as number;
}

/** The newest steps that are held, oldest first. */
export function newest(ring: Ring, steps = Number.POSITIVE_INFINITY): Float32Array {
  const held = Math.min(ring.count, ring.values.length, steps);
  return Float32Array.from({ length: held }, (_, i) => valueAt(ring, ring.count - held + i));
}
