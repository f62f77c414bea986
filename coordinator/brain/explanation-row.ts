import type { AimBasis, AimFacts, DemandBasis, Explanation, Note, Predictor } from './explanation.js';
import type { StartKind } from './start-time.js';

/**
 * An explanation as a row of numbers. A tick makes one for each component and most are never asked for: as rows in an
 * array that is used again they cost the garbage collector nothing.
 */
export const ROW_LENGTH = 58;

const OPTIONS_MAX = 3;
const DEMAND_BASES: readonly DemandBasis[] = ['used', 'arrivals', 'saturated', 'unknown'];
const PREDICTORS: readonly Predictor[] = ['level', 'last', 'trend', 'forecast'];
const AIM_BASES: readonly AimBasis[] = ['target', 'queue', 'learned', 'unknown', 'missed', 'not-cpu'];
const START_KINDS: readonly StartKind[] = ['assumed', 'warm', 'cold'];
const OBJECTIVES: readonly AimFacts['objective']['kind'][] = ['utilisation', 'queue', 'latency'];
const NOTES: readonly Note[] = [
  'idle',
  'lost-metrics',
  'burst',
  'saturated',
  'not-cpu',
  'slow-callees',
  'cpu-wait',
  'calm',
  'count-max',
  'count-min',
  'size-max',
  'budget',
  'capacity',
];

/** Where in a row some numbers are. */
const AT_MS = 0;
const BEFORE = 1;
const AFTER = 4;
const DEMAND_CPU = 7;
const REST = 8;

/** A row in which nothing is written. */
export function newRow(): Float64Array {
  return new Float64Array(ROW_LENGTH).fill(Number.NaN);
}

/** Writes the explanation into `row` from the index `start` on. */
export function writeRow(explanation: Explanation, row: Float64Array, start = 0): void {
  const { seen, learned, demand, ahead, aim, need, options, before, after, notes } = explanation;
  row[start + AT_MS] = explanation.atMs;
  row[start + DEMAND_CPU] = demand.cpu;
  writeShape(before, row, start + BEFORE);
  writeShape(after, row, start + AFTER);
  let i = start + REST;
  row[i++] = seen.usedCpu;
  row[i++] = seen.allottedCpu;
  row[i++] = seen.arrivedPerSecond;
  row[i++] = seen.finishedPerSecond;
  row[i++] = seen.outstanding;
  row[i++] = seen.latencyMs ?? Number.NaN;
  row[i++] = seen.time?.meanMs ?? Number.NaN;
  row[i++] = seen.time?.cpuMs ?? Number.NaN;
  row[i++] = seen.time?.cpuWaitMs ?? Number.NaN;
  row[i++] = seen.time?.calleesMs ?? Number.NaN;
  row[i++] = seen.time?.slowest === undefined ? Number.NaN : numberOf(seen.time.slowest.callee);
  row[i++] = seen.time?.slowest?.ms ?? Number.NaN;
  row[i++] = learned.costCpu ?? Number.NaN;
  row[i++] = learned.idleCpu;
  row[i++] = learned.unqueuedMs ?? Number.NaN;
  row[i++] = learned.start?.seconds ?? Number.NaN;
  row[i++] = learned.start === undefined ? Number.NaN : codeOf(START_KINDS, learned.start.kind);
  row[i++] = learned.start?.seen ?? Number.NaN;
  row[i++] = codeOf(DEMAND_BASES, demand.basis);
  row[i++] = demand.backlogCpu;
  row[i++] = demand.nextCpu;
  row[i++] = codeOf(PREDICTORS, demand.predictor);
  row[i++] = demand.marginShare;
  row[i++] = ahead?.seconds ?? Number.NaN;
  row[i++] = ahead?.cpu ?? Number.NaN;
  row[i++] = ahead?.trust ?? Number.NaN;
  row[i++] = aim.utilisation;
  row[i++] = codeOf(AIM_BASES, aim.basis);
  row[i++] = codeOf(OBJECTIVES, aim.objective.kind);
  row[i++] = aim.objective.kind === 'latency' ? aim.objective.percentile : Number.NaN;
  row[i++] = aim.objective.kind === 'latency' ? aim.objective.targetMs : Number.NaN;
  row[i++] = need.cpu;
  row[i++] = need.count;
  row[i++] = need.heldCpu;
  row[i++] = need.calmSeconds;
  row[i++] = notes.reduce((bits, note) => bits | (1 << codeOf(NOTES, note)), 0);
  row[i++] = explanation.chosen;
  if (options.length > OPTIONS_MAX) throw new Error(`${options.length} options are more than a row holds`);
  row[i++] = options.length;
  for (const { count, cpu, costCores, meets } of options) {
    row[i++] = count;
    row[i++] = cpu;
    row[i++] = costCores;
    row[i++] = meets ? 1 : 0;
  }
}

/** The explanation that was written there; null where none was. */
export function readRow(row: Float64Array, start = 0): Explanation | null {
  if (Number.isNaN(atMsOf(row, start))) return null;
  let i = start + REST;
  const next = () => row[i++] as number;
  const nextOrNull = () => orNull(next());
  const seen: Explanation['seen'] = {
    usedCpu: next(),
    allottedCpu: next(),
    arrivedPerSecond: next(),
    finishedPerSecond: next(),
    outstanding: next(),
    latencyMs: nextOrNull(),
  };
  const time = { meanMs: next(), cpuMs: next(), cpuWaitMs: next(), calleesMs: next() };
  const [callee, ofCalleeMs] = [NAMES[next()], next()];
  if (!Number.isNaN(time.meanMs))
    seen.time = callee === undefined ? time : { ...time, slowest: { callee, ms: ofCalleeMs } };
  const learned: Explanation['learned'] = { costCpu: nextOrNull(), idleCpu: next(), unqueuedMs: nextOrNull() };
  const [seconds, kindOfStart, starts] = [next(), next(), next()];
  if (!Number.isNaN(seconds)) learned.start = { seconds, kind: ofCode(START_KINDS, kindOfStart), seen: starts };
  const demand = {
    cpu: row[start + DEMAND_CPU] as number,
    basis: ofCode(DEMAND_BASES, next()),
    backlogCpu: next(),
    nextCpu: next(),
    predictor: ofCode(PREDICTORS, next()),
    marginShare: next(),
  };
  const ahead = { seconds: next(), cpu: next(), trust: next() };
  const aimed = { utilisation: next(), basis: ofCode(AIM_BASES, next()) };
  const kind = ofCode(OBJECTIVES, next());
  const [percentile, targetMs] = [next(), next()];
  const need = { cpu: next(), count: next(), heldCpu: next(), calmSeconds: next() };
  const bits = next();
  const chosen = next();
  const options = Array.from({ length: next() }, () => {
    return { count: next(), cpu: next(), costCores: next(), meets: next() === 1 };
  });
  return {
    atMs: row[start + AT_MS] as number,
    seen,
    learned,
    demand,
    ahead: Number.isNaN(ahead.seconds) ? null : ahead,
    aim: { ...aimed, objective: kind === 'latency' ? { kind, percentile, targetMs } : { kind } },
    need,
    options,
    chosen,
    before: readShape(row, start + BEFORE),
    after: shapeAfter(row, start),
    notes: NOTES.filter((_, code) => (bits & (1 << code)) !== 0),
  };
}

/** When the decision was made, ms; NaN where there is none. */
export function atMsOf(row: Float64Array, start = 0): number {
  return row[start + AT_MS] as number;
}

export function demandCpuOf(row: Float64Array, start = 0): number {
  return row[start + DEMAND_CPU] as number;
}

/** What the decision made of the component. */
export function shapeAfter(row: Float64Array, start = 0): Explanation['after'] {
  return readShape(row, start + AFTER);
}

/**
 * Whether the decision made another shape of the component than it had, or, where decisions are not carried out, than the
 * one before it, if any, made of it.
 */
export function isChange(row: Float64Array, previous: Float64Array | null): boolean {
  const hasPrevious = previous !== null && !Number.isNaN(atMsOf(previous));
  const from = hasPrevious ? previous : row;
  const at = hasPrevious ? AFTER : BEFORE;
  for (let i = 0; i < 3; i += 1) if (from[at + i] !== row[AFTER + i]) return true;
  return false;
}

function writeShape({ count, size }: Explanation['after'], row: Float64Array, at: number): void {
  row[at] = count;
  row[at + 1] = size.cpu;
  row[at + 2] = size.memory;
}

function readShape(row: Float64Array, at: number): Explanation['after'] {
  return { count: row[at] as number, size: { cpu: row[at + 1] as number, memory: row[at + 2] as number } };
}

/** Rows live no longer than this process, and name components alone: of those there are few. */
const NAMES: string[] = [];
const NUMBERS = new Map<string, number>();
const NAMES_MAX = 100_000;

/** NaN where there are too many: then the name is not told. */
function numberOf(name: string): number {
  const known = NUMBERS.get(name);
  if (known !== undefined) return known;
  if (NAMES.length === NAMES_MAX) return Number.NaN;
  NUMBERS.set(name, NAMES.length);
  return NAMES.push(name) - 1;
}

function codeOf<T>(codes: readonly T[], word: T): number {
  const code = codes.indexOf(word);
  if (code < 0) throw new Error(`${String(word)} has no code`);
  return code;
}

function ofCode<T>(codes: readonly T[], code: number): T {
  const word = codes[code];
  if (word === undefined) throw new Error(`there is no word for the code ${code}`);
  return word;
}

function orNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}
