import { LATENCY_BUCKETS } from '../protocol/control.js';
import {
  BUCKETS_AT,
  bucketsIn,
  FIELDS_AT,
  type OptionalField,
  SAMPLE_FIELDS,
  type SampleCounts,
  type SampleRows,
} from '../protocol/instance-news.js';
import type { Sample } from '../protocol/link.js';
import { finite } from './brain/sense.js';

/** Rates are whole millionths: sums of whole numbers come out the same in whatever order they are made. */
export const MICRO = 1_000_000;

/** Samples nearer to each other tell too little: of one in between counts only what holds at the moment. */
const SPAN_MS_MIN = 500;

type Field = (typeof SAMPLE_FIELDS)[number];
type RequiredField = Exclude<Field, OptionalField>;
const at = (field: Field) => SAMPLE_FIELDS.indexOf(field);
const CPU_SECONDS = at('cpuSeconds');
const MEMORY = at('memoryBytes');
const ARRIVED = at('arrived');
const FINISHED = at('finished');
const OUTSTANDING = at('outstanding');
const BUSY_MS = at('busyMs');
const RUN_DELAY = at('runDelaySeconds');
/** Counters of which a rate is made, in the order of RATES. */
const COUNTERS = [CPU_SECONDS, ARRIVED, FINISHED, at('failed'), at('ioReadBytes'), at('ioWriteBytes'), RUN_DELAY];
export const RATES = ['cpu', 'arrived', 'finished', 'failed', 'ioRead', 'ioWrite', 'runDelay'] as const;

/** A row: when it was heard, whether there are rates, the rates, the fields of the sample, calls by latency bucket. */
const HEARD_AT = 0;
const MEASURED_AT = 1;
const RATES_AT = 2;
const SAMPLE_AT = RATES_AT + RATES.length;
const LATENCY_AT = SAMPLE_AT + SAMPLE_FIELDS.length;
const ROW = LATENCY_AT + LATENCY_BUCKETS;

/** Takes the calls that ended between two samples. */
export interface LatencySink {
  addLatency(bucket: number, calls: number): void;
}

/**
 * The last sample of each instance of one host and the rates since the one before it, as rows of numbers that are changed
 * in place: a hundred thousand new objects each second would be the garbage collector's work.
 */
export class HostSamples {
  readonly #numbers: Float64Array;
  readonly #counts: (SampleCounts | undefined)[];

  constructor(rows: number) {
    this.#numbers = new Float64Array(rows * ROW);
    this.#counts = Array.from({ length: rows });
    for (let row = 0; row < rows; row += 1) this.forget(row);
  }

  /** Other rows: the i-th is the one that was `rows[i]`, or a new one where that is -1. */
  rearranged(rows: readonly number[]): HostSamples {
    const next = new HostSamples(rows.length);
    for (const [i, row] of rows.entries()) {
      if (row < 0) continue;
      next.#numbers.set(this.#numbers.subarray(row * ROW, (row + 1) * ROW), i * ROW);
      next.#counts[i] = this.#counts[row];
    }
    return next;
  }

  forget(row: number): void {
    this.#numbers.fill(0, row * ROW, (row + 1) * ROW);
    this.#numbers[row * ROW + HEARD_AT] = Number.NaN;
    this.#counts[row] = undefined;
  }

  /**
   * Takes the sample whose row begins at `from`. There are rates only of what the instance did after another sample, and while
   * it served. Answers whether they are new.
   */
  take(
    row: number,
    { rows, from, counts }: { rows: SampleRows; from: number; counts: SampleCounts | undefined },
    served: boolean,
    nowMs: number,
    latency: LatencySink,
  ): boolean {
    const numbers = this.#numbers;
    const start = row * ROW;
    if (bucketsIn(rows, from) < 0) {
      this.forget(row);
      return false;
    }
    const elapsedMs = nowMs - (numbers[start + HEARD_AT] as number);
    const follows = served && !Number.isNaN(elapsedMs);
    if (follows && elapsedMs < SPAN_MS_MIN) {
      numbers[start + SAMPLE_AT + MEMORY] = rows[from + FIELDS_AT + MEMORY] as number;
      numbers[start + SAMPLE_AT + OUTSTANDING] = rows[from + FIELDS_AT + OUTSTANDING] as number;
      return false;
    }
    if (follows) this.#measure(start, rows, from + FIELDS_AT, elapsedMs, latency);
    else numbers.fill(0, start + MEASURED_AT, start + SAMPLE_AT);
    for (let i = 0; i < SAMPLE_FIELDS.length; i += 1)
      numbers[start + SAMPLE_AT + i] = rows[from + FIELDS_AT + i] as number;
    numbers.fill(0, start + LATENCY_AT, start + ROW);
    const end = from + BUCKETS_AT + 2 * bucketsIn(rows, from);
    for (let i = from + BUCKETS_AT; i < end; i += 2) {
      numbers[start + LATENCY_AT + (rows[i] as number)] = rows[i + 1] as number;
    }
    numbers[start + HEARD_AT] = nowMs;
    this.#counts[row] = counts;
    return follows;
  }

  #measure(start: number, rows: SampleRows, fields: number, elapsedMs: number, latency: LatencySink): void {
    const numbers = this.#numbers;
    const before = start + SAMPLE_AT;
    const fell = (field: number) => (rows[fields + field] as number) < (numbers[before + field] as number);
    // Counters that went back mean that it started anew in between: all of the later sample fell into the span.
    const anew = fell(CPU_SECONDS) || fell(ARRIVED) || fell(FINISHED);
    const perMicro = (MICRO * 1000) / elapsedMs;
    for (let i = 0; i < COUNTERS.length; i += 1) {
      const field = COUNTERS[i] as number;
      const rise = riseOf(numbers[before + field] as number, rows[fields + field] as number, anew);
      numbers[start + RATES_AT + i] = Math.round(rise * perMicro);
    }
    numbers[start + MEASURED_AT] = 1;
    const first = fields + SAMPLE_FIELDS.length;
    const end = first + 2 * bucketsIn(rows, fields - FIELDS_AT);
    for (let i = first; i < end; i += 2) {
      const bucket = rows[i] as number;
      const rise = riseOf(numbers[start + LATENCY_AT + bucket] as number, rows[i + 1] as number, anew);
      // Most stand still.
      if (rise > 0) latency.addLatency(bucket, Math.round(rise));
    }
  }

  has(row: number): boolean {
    return !Number.isNaN(this.#numbers[row * ROW + HEARD_AT]);
  }

  isMeasured(row: number): boolean {
    return this.#numbers[row * ROW + MEASURED_AT] === 1;
  }

  /** Whether its host tells how long it waits for a CPU; the rate is 0 where not. */
  tellsRunDelay(row: number): boolean {
    return !Number.isNaN(this.#field(row, RUN_DELAY));
  }

  /** In millionths: of a core, of a call or of a byte a second. */
  rate(row: number, rate: number): number {
    return this.#numbers[row * ROW + RATES_AT + rate] as number;
  }

  /** Bytes. */
  memory(row: number): number {
    return this.#field(row, MEMORY);
  }

  outstanding(row: number): number {
    return this.#field(row, OUTSTANDING);
  }

  /** When the sample was heard; NaN: there is none. */
  heardMs(row: number): number {
    return this.#numbers[row * ROW + HEARD_AT] as number;
  }

  cpuSeconds(row: number): number {
    return this.#field(row, CPU_SECONDS);
  }

  finished(row: number): number {
    return this.#field(row, FINISHED);
  }

  /** NaN: not counted. */
  busyMs(row: number): number {
    return this.#field(row, BUSY_MS);
  }

  /** By state shard and by component called; undefined: neither. */
  counts(row: number): SampleCounts | undefined {
    return this.#counts[row];
  }

  /** For people; what the loop needs is asked for by itself. */
  sample(row: number): Sample | undefined {
    if (!this.has(row)) return undefined;
    const start = row * ROW;
    const fields = SAMPLE_FIELDS.map((field, i) => [field, this.#field(row, i)] as const);
    // Only those that may be absent are ever NaN: the others were checked when they came.
    const known = Object.fromEntries(fields.filter(([, value]) => !Number.isNaN(value)));
    const numbers = known as Record<RequiredField, number> & Partial<Record<OptionalField, number>>;
    const { heat, called } = this.#counts[row] ?? {};
    return {
      ...numbers,
      latencyBuckets: Array.from(this.#numbers.subarray(start + LATENCY_AT, start + ROW)),
      ...(heat === undefined ? {} : { heat }),
      ...(called === undefined ? {} : { called }),
    };
  }

  #field(row: number, field: number): number {
    return this.#numbers[row * ROW + SAMPLE_AT + field] as number;
  }
}

function riseOf(from: number, to: number, anew: boolean): number {
  return finite(anew || to < from ? to : to - from);
}
