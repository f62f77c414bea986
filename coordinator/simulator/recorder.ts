import type { Moves } from './ground.js';
import { LatencyBook } from './latency-book.js';
import { type Goal, type Need, overShareMax, type SimulatedComponent } from './scenario.js';

const MINUTE = 60;
/** Formulas leave fractions of requests behind; less than this is none that came too late. */
const LATE_MIN = 0.5;

/** One minute of a component. */
export interface MinuteRow {
  /** Since the start of the trace. */
  second: number;
  /** Least cores for the objective at the expected load. */
  needed: number;
  needCount: number;
  /** Cores of what serves, on average; and with what starts and leaves, which is paid for as well. */
  supplied: number;
  allotted: number;
  count: number;
  requests: number;
  missed: boolean;
  p99Ms: number | null;
}

/** Notes what becomes of a component, minute by minute. */
export class Recorder {
  readonly rows: MinuteRow[] = [];
  readonly all = new LatencyBook();
  failed = 0;
  readonly #goal: Goal;
  readonly #needs: readonly Need[];
  readonly #minute = new LatencyBook();
  #supplied = 0;
  #allotted = 0;
  #count = 0;
  #seconds = 0;

  constructor(goal: Goal, needs: readonly Need[]) {
    this.#goal = goal;
    this.#needs = needs;
  }

  /** Latencies of the second are in `book`. */
  second(now: number, book: LatencyBook, supplied: number, allotted: number, count: number): void {
    this.#minute.add(book);
    this.#supplied += supplied;
    this.#allotted += allotted;
    this.#count += count;
    this.#seconds += 1;
    if ((now + 1) % MINUTE === 0) this.finish(now + 1 - this.#seconds);
  }

  /** Ends a minute, or the part of one that is left. */
  finish(from: number): void {
    const seconds = this.#seconds;
    if (seconds === 0) return;
    const need = this.#needs[Math.floor(from / MINUTE)] ?? { count: 0, cpu: 0 };
    const { requests, over, overShare } = this.#minute;
    this.rows.push({
      second: from,
      needed: need.count * need.cpu,
      needCount: need.count,
      supplied: this.#supplied / seconds,
      allotted: this.#allotted / seconds,
      count: this.#count / seconds,
      requests,
      missed: over >= LATE_MIN && overShare > overShareMax(this.#goal) + 1e-12,
      p99Ms: this.#minute.percentileMs(99),
    });
    this.all.add(this.#minute);
    this.#minute.clear();
    this.#supplied = 0;
    this.#allotted = 0;
    this.#count = 0;
    this.#seconds = 0;
  }
}

export interface ComponentFigures {
  component: string;
  goal: Goal;
  minutes: number;
  missedMinutes: number;
  missedShare: number;
  requests: number;
  failed: number;
  /** Share of requests that took longer than the objective's target. */
  overShare: number;
  p50Ms: number | null;
  p99Ms: number | null;
  neededCpuHours: number;
  allottedCpuHours: number;
  /** Allotted over needed. */
  costRatio: number;
  elasticity: Elasticity;
  moves: Moves;
}

/**
 * How well supply follows demand, as defined by the SPEC research group: Herbst et al., "Ready for Rain? A View from SPEC
 * Research on the Future of Cloud Metrics" (SPEC-RG-2016-01) and "Quantifying Cloud Performance and Dependability" (ACM
 * TOMPECS 3 (2018) 19). Shares in percent; demand is what `needOf` says, supply what serves.
 */
export interface Elasticity {
  /** Mean of the missing, and of the superfluous, cores over the demand. */
  accuracyUnder: number;
  accuracyOver: number;
  /** Share of the time with too little, and with too much. */
  timeShareUnder: number;
  timeShareOver: number;
  /** Changes of the supplied count less changes of the needed count, each hour. */
  jitterPerHour: number;
}

export function figuresOf(
  component: SimulatedComponent,
  rows: readonly MinuteRow[],
  book: LatencyBook,
  failed: number,
  moves: Moves,
): ComponentFigures {
  const hours = (of: (row: MinuteRow) => number) => rows.reduce((sum, row) => sum + of(row), 0) / 60;
  const missedMinutes = rows.filter(({ missed }) => missed).length;
  const neededCpuHours = hours(({ needed }) => needed);
  const allottedCpuHours = hours(({ allotted }) => allotted);
  return {
    component: component.name,
    goal: component.goal,
    minutes: rows.length,
    missedMinutes,
    missedShare: rows.length > 0 ? missedMinutes / rows.length : 0,
    requests: book.requests,
    failed,
    overShare: book.overShare,
    p50Ms: book.percentileMs(50),
    p99Ms: book.percentileMs(99),
    neededCpuHours,
    allottedCpuHours,
    costRatio: allottedCpuHours / neededCpuHours,
    elasticity: elasticityOf(rows),
    moves,
  };
}

export function elasticityOf(
  rows: readonly Pick<MinuteRow, 'needed' | 'supplied' | 'needCount' | 'count'>[],
): Elasticity {
  let [under, over, timeUnder, timeOver, demanded, changes] = [0, 0, 0, 0, 0, 0];
  for (const [index, { needed, supplied, needCount, count }] of rows.entries()) {
    const before = rows[index - 1];
    if (before !== undefined) {
      changes += Math.abs(Math.round(count) - Math.round(before.count)) > 0 ? 1 : 0;
      changes -= needCount !== before.needCount ? 1 : 0;
    }
    if (needed < supplied - 1e-9) timeOver += 1;
    if (needed > supplied + 1e-9) timeUnder += 1;
    if (needed <= 0) continue;
    demanded += 1;
    under += Math.max(0, needed - supplied) / needed;
    over += Math.max(0, supplied - needed) / needed;
  }
  const percent = (sum: number, of: number) => (of > 0 ? (100 * sum) / of : 0);
  return {
    accuracyUnder: percent(under, demanded),
    accuracyOver: percent(over, demanded),
    timeShareUnder: percent(timeUnder, rows.length),
    timeShareOver: percent(timeOver, rows.length),
    jitterPerHour: rows.length > 1 ? changes / (rows.length / 60) : 0,
  };
}
