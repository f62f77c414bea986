import type { AimBasis, AimFacts, DemandBasis, Explanation, Note, Predictor } from './explanation.js';
import type { StartKind } from './start-time.js';
import type { TimeUse } from './time-use.js';

/**
 * An explanation as a row of numbers. A tick writes one for each component and most are never asked for: written into an
 * array that is used again they cost the garbage collector nothing. NaN: not known, or absent.
 */
export type Row = Float64Array;

/** Where in a row each number is; words are told by their codes. */
export const AT = {
  atMs: 0,
  /** Count, cores and bytes, as of `after`. */
  before: 1,
  after: 4,
  demandCpu: 7,
  usedCpu: 8,
  allottedCpu: 9,
  arrivedPerSecond: 10,
  finishedPerSecond: 11,
  outstanding: 12,
  latencyMs: 13,
  timeMeanMs: 14,
  timeCpuMs: 15,
  timeCpuWaitMs: 16,
  timeCalleesMs: 17,
  slowestCallee: 18,
  slowestMs: 19,
  costCpu: 20,
  idleCpu: 21,
  unqueuedMs: 22,
  startSeconds: 23,
  startKind: 24,
  startSeen: 25,
  demandBasis: 26,
  backlogCpu: 27,
  nextCpu: 28,
  predictor: 29,
  marginShare: 30,
  aheadSeconds: 31,
  aheadCpu: 32,
  trust: 33,
  utilisation: 34,
  aimBasis: 35,
  objective: 36,
  percentile: 37,
  targetMs: 38,
  needCpu: 39,
  needCount: 40,
  heldCpu: 41,
  calmSeconds: 42,
  /** A bit for each. */
  notes: 43,
  chosen: 44,
  optionCount: 45,
  /** Count, cores, cost and whether it meets the objective, of each. */
  options: 46,
} as const;

const OPTIONS_MAX = 3;
const OPTION_LENGTH = 4;
export const ROW_LENGTH = AT.options + OPTIONS_MAX * OPTION_LENGTH;

export const DEMAND_BASES: readonly DemandBasis[] = ['used', 'arrivals', 'saturated', 'unknown'];
export const PREDICTORS: readonly Predictor[] = ['level', 'last', 'trend', 'forecast'];
export const AIM_BASES: readonly AimBasis[] = ['target', 'queue', 'learned', 'unknown', 'missed', 'not-cpu'];
export const START_KINDS: readonly StartKind[] = ['assumed', 'warm', 'cold'];
export const OBJECTIVES: readonly AimFacts['objective']['kind'][] = ['utilisation', 'queue', 'latency'];
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

/** A row in which nothing is written. */
export function newRow(): Row {
  return new Float64Array(ROW_LENGTH).fill(Number.NaN);
}

/** Writes the code of a word. */
export function writeWord<T>(row: Row, at: number, words: readonly T[], word: T): void {
  const code = words.indexOf(word);
  if (code < 0) throw new Error(`${String(word)} has no code`);
  row[at] = code;
}

/** Writes what the decision had before it, or made of it. */
export function writeShape(row: Row, at: number, { count, size }: Explanation['after']): void {
  row[at] = count;
  row[at + 1] = size.cpu;
  row[at + 2] = size.memory;
}

export function writeTime(row: Row, time: TimeUse | null | undefined): void {
  row[AT.timeMeanMs] = time?.meanMs ?? Number.NaN;
  row[AT.timeCpuMs] = time?.cpuMs ?? Number.NaN;
  row[AT.timeCpuWaitMs] = time?.cpuWaitMs ?? Number.NaN;
  row[AT.timeCalleesMs] = time?.calleesMs ?? Number.NaN;
  const slowest = time?.slowest;
  row[AT.slowestCallee] = slowest === undefined ? Number.NaN : numberOf(slowest.callee);
  row[AT.slowestMs] = slowest?.ms ?? Number.NaN;
}

/** Writes one of what was weighed, in the order of their indices: those that were there from it on are no more. */
export function writeOption(
  row: Row,
  index: number,
  count: number,
  cpu: number,
  costCores: number,
  meets: boolean,
): void {
  if (index >= OPTIONS_MAX) throw new Error(`${index + 1} options are more than a row holds`);
  const at = AT.options + index * OPTION_LENGTH;
  row[at] = count;
  row[at + 1] = cpu;
  row[at + 2] = costCores;
  row[at + 3] = meets ? 1 : 0;
  row[AT.optionCount] = index + 1;
}

/** The bit of a note among those of a row. */
export function bitOf(note: Note): number {
  return 1 << NOTES.indexOf(note);
}

export function hasNote(row: Row, note: Note): boolean {
  return ((row[AT.notes] as number) & bitOf(note)) !== 0;
}

/** The explanation that was written there; null where none was. */
export function readRow(row: Row, start = 0): Explanation | null {
  if (Number.isNaN(atMsOf(row, start))) return null;
  const get = (at: number) => row[start + at] as number;
  const getOrNull = (at: number) => (Number.isNaN(get(at)) ? null : get(at));
  const seen: Explanation['seen'] = {
    usedCpu: get(AT.usedCpu),
    allottedCpu: get(AT.allottedCpu),
    arrivedPerSecond: get(AT.arrivedPerSecond),
    finishedPerSecond: get(AT.finishedPerSecond),
    outstanding: get(AT.outstanding),
    latencyMs: getOrNull(AT.latencyMs),
  };
  const time: TimeUse = {
    meanMs: get(AT.timeMeanMs),
    cpuMs: get(AT.timeCpuMs),
    cpuWaitMs: get(AT.timeCpuWaitMs),
    calleesMs: get(AT.timeCalleesMs),
  };
  const callee = NAMES[get(AT.slowestCallee)];
  if (callee !== undefined) time.slowest = { callee, ms: get(AT.slowestMs) };
  if (!Number.isNaN(time.meanMs)) seen.time = time;
  const learned: Explanation['learned'] = {
    costCpu: getOrNull(AT.costCpu),
    idleCpu: get(AT.idleCpu),
    unqueuedMs: getOrNull(AT.unqueuedMs),
  };
  const startSeconds = get(AT.startSeconds);
  if (!Number.isNaN(startSeconds)) {
    learned.start = { seconds: startSeconds, kind: wordOf(START_KINDS, get(AT.startKind)), seen: get(AT.startSeen) };
  }
  const demand = {
    cpu: get(AT.demandCpu),
    basis: wordOf(DEMAND_BASES, get(AT.demandBasis)),
    backlogCpu: get(AT.backlogCpu),
    nextCpu: get(AT.nextCpu),
    predictor: wordOf(PREDICTORS, get(AT.predictor)),
    marginShare: get(AT.marginShare),
  };
  const ahead = { seconds: get(AT.aheadSeconds), cpu: get(AT.aheadCpu), trust: get(AT.trust) };
  const aimed = { utilisation: get(AT.utilisation), basis: wordOf(AIM_BASES, get(AT.aimBasis)) };
  const kind = wordOf(OBJECTIVES, get(AT.objective));
  const bits = get(AT.notes);
  const options = Array.from({ length: get(AT.optionCount) }, (_, i) => {
    const at = AT.options + i * OPTION_LENGTH;
    return { count: get(at), cpu: get(at + 1), costCores: get(at + 2), meets: get(at + 3) === 1 };
  });
  return {
    atMs: get(AT.atMs),
    seen,
    learned,
    demand,
    ahead: Number.isNaN(ahead.seconds) ? null : ahead,
    aim: {
      ...aimed,
      objective: kind === 'latency' ? { kind, percentile: get(AT.percentile), targetMs: get(AT.targetMs) } : { kind },
    },
    need: {
      cpu: get(AT.needCpu),
      count: get(AT.needCount),
      heldCpu: get(AT.heldCpu),
      calmSeconds: get(AT.calmSeconds),
    },
    options,
    chosen: get(AT.chosen),
    before: readShape(row, start + AT.before),
    after: shapeAfter(row, start),
    notes: NOTES.filter((_, code) => (bits & (1 << code)) !== 0),
  };
}

/** When the decision was made, ms; NaN where there is none. */
export function atMsOf(row: Row, start = 0): number {
  return row[start + AT.atMs] as number;
}

export function demandCpuOf(row: Row, start = 0): number {
  return row[start + AT.demandCpu] as number;
}

/** What the decision made of the component. */
export function shapeAfter(row: Row, start = 0): Explanation['after'] {
  return readShape(row, start + AT.after);
}

/**
 * Whether the decision made another shape of the component than it had, or, where decisions are not carried out, than the
 * one before it, if any, made of it.
 */
export function isChange(row: Row, previous: Row | null): boolean {
  const hasPrevious = previous !== null && !Number.isNaN(atMsOf(previous));
  const from = hasPrevious ? previous : row;
  const at = hasPrevious ? AT.after : AT.before;
  for (let i = 0; i < 3; i += 1) if (from[at + i] !== row[AT.after + i]) return true;
  return false;
}

function readShape(row: Row, at: number): Explanation['after'] {
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

function wordOf<T>(words: readonly T[], code: number): T {
  const word = words[code];
  if (word === undefined) throw new Error(`there is no word for the code ${code}`);
  return word;
}
