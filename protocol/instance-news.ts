import { isDeepStrictEqual } from 'node:util';
import { LATENCY_BUCKETS, type ShardHeat } from './control.js';
import { ShoalError } from './errors.js';
import { type InstanceStatus, LINK_VERSION, type Sample } from './link.js';

/** A status without what changes each second. */
export type InstanceFacts = Omit<InstanceStatus, 'sample'>;

/**
 * What a report says of the instances of its host. Facts are said when they change, and samples are rows of numbers: a
 * coordinator takes in a hundred thousand of them each second.
 */
export interface InstanceNews<Samples = SampleRows> {
  /** Of all instances, in the order of their samples. Absent: as in the report before on the same connection, or none. */
  ids?: string[];
  /** Of those that are new, or not as last said. */
  instances: InstanceFacts[];
  samples: Samples;
  /** Of those that have such counts. */
  counts?: SampleCounts[];
}

/** The part of a sample that is no single number, of the instance with this index. */
export interface SampleCounts extends Pick<Sample, 'heat' | 'called'> {
  index: number;
}

/**
 * A row for each instance: the number of latency buckets with calls, or -1 and nothing more where there is no sample;
 * then SAMPLE_FIELDS, NaN for what is not counted; then each such bucket and its count. On the wire these are the bytes of
 * float64 in the order of little-endian machines.
 */
export type SampleRows = Float64Array;

export const SAMPLE_FIELDS = [
  'cpuSeconds',
  'memoryBytes',
  'ioReadBytes',
  'ioWriteBytes',
  'arrived',
  'finished',
  'failed',
  'outstanding',
  'busyMs',
  'runDelaySeconds',
  'faultsMinor',
  'faultsMajor',
  'systemCalls',
  'systemCallSeconds',
  'ioOperations',
  'ioSeconds',
  'sentBytes',
  'receivedBytes',
  'retransmits',
  'connects',
  'connectSeconds',
] as const;
type SampleField = (typeof SAMPLE_FIELDS)[number];
/** From here on a sample may lack them. */
const OPTIONAL_FIELDS_AT = SAMPLE_FIELDS.indexOf('busyMs');
export type OptionalField = { [Field in SampleField]: undefined extends Sample[Field] ? Field : never }[SampleField];
export const OPTIONAL_FIELDS = SAMPLE_FIELDS.slice(OPTIONAL_FIELDS_AT) as OptionalField[];
/** In place of the number of buckets. */
export const NO_SAMPLE = -1;

/** Where in a row the fields begin, and the buckets. */
export const FIELDS_AT = 1;
export const BUCKETS_AT = FIELDS_AT + SAMPLE_FIELDS.length;

/** Buckets with calls in the row that begins there; -1 without a sample. */
export function bucketsIn(rows: SampleRows, at: number): number {
  return rows[at] as number;
}

/** Where the row after the one that begins there begins. */
export function rowAfter(rows: SampleRows, at: number): number {
  const buckets = bucketsIn(rows, at);
  return buckets === NO_SAMPLE ? at + 1 : at + BUCKETS_AT + 2 * buckets;
}

export function writeSamples(samples: readonly (Sample | undefined)[]): SampleRows {
  const numbers: number[] = [];
  for (const sample of samples) {
    if (sample === undefined) {
      numbers.push(NO_SAMPLE);
      continue;
    }
    const { latencyBuckets } = sample;
    const start = numbers.push(0) - 1;
    for (const field of SAMPLE_FIELDS) numbers.push(sample[field] ?? Number.NaN);
    const buckets = Math.min(LATENCY_BUCKETS, latencyBuckets.length);
    for (let bucket = 0; bucket < buckets; bucket += 1) {
      const count = latencyBuckets[bucket] as number;
      if (!(count > 0)) continue;
      numbers.push(bucket, count);
      numbers[start] = (numbers[start] as number) + 1;
    }
  }
  return Float64Array.from(numbers);
}

/** The rows of a message of that link version, a copy. Throws SHOAL_E_FRAME unless each is sound. */
export function readSamples(bytes: unknown, version: number = LINK_VERSION): SampleRows {
  if (!(bytes instanceof Uint8Array) || bytes.length % 8 !== 0) throw broken('are not the bytes of float64');
  const sent = new Float64Array(bytes.length / 8);
  new Uint8Array(sent.buffer).set(bytes);
  const rows = withFields(sent, fieldsIn(version), SAMPLE_FIELDS.length);
  for (let at = 0, index = 0; at < rows.length; at = rowAfter(rows, at), index += 1) checkRow(rows, at, index);
  return rows;
}

function checkRow(rows: SampleRows, at: number, index: number): void {
  const buckets = bucketsIn(rows, at);
  if (buckets === NO_SAMPLE) return;
  if (!Number.isInteger(buckets) || buckets < 0 || buckets > LATENCY_BUCKETS) {
    throw broken(`[${index}] has ${buckets} latency buckets of ${LATENCY_BUCKETS}`);
  }
  if (rowAfter(rows, at) > rows.length) throw broken(`[${index}] is cut off`);
  // By index and without pairs: there are a hundred thousand rows each second.
  for (let i = 0; i < SAMPLE_FIELDS.length; i += 1) {
    const value = rows[at + FIELDS_AT + i] as number;
    const lacks = Number.isNaN(value) && i >= OPTIONAL_FIELDS_AT;
    if (!lacks && !isAmount(value)) throw broken(`[${index}].${SAMPLE_FIELDS[i]} is ${value}`);
  }
  let last = -1;
  const end = rowAfter(rows, at);
  for (let i = at + BUCKETS_AT; i < end; i += 2) {
    const bucket = rows[i] as number;
    const count = rows[i + 1] as number;
    const known = Number.isInteger(bucket) && bucket > last && bucket < LATENCY_BUCKETS;
    if (!known || !isAmount(count)) throw broken(`[${index}] has ${count} calls in latency bucket ${bucket}`);
    last = bucket;
  }
}

/** Fields of a sample in that link version. */
function fieldsIn(version: number): number {
  return version < 7 ? SAMPLE_FIELDS.indexOf('faultsMinor') : SAMPLE_FIELDS.length;
}

/** Rows with fewer or more fields: those that were not there are not counted. */
function withFields(rows: SampleRows, from: number, to: number): SampleRows {
  if (from === to) return rows;
  const numbers: number[] = [];
  for (let at = 0, index = 0; at < rows.length; index += 1) {
    const buckets = bucketsIn(rows, at);
    const fieldsEnd = at + FIELDS_AT + from;
    const end = buckets === NO_SAMPLE ? at + 1 : fieldsEnd + 2 * buckets;
    if (!(end > at && end <= rows.length)) throw broken(`[${index}] is cut off`);
    numbers.push(buckets);
    if (buckets !== NO_SAMPLE) {
      const kept = rows.subarray(at + FIELDS_AT, Math.min(fieldsEnd, at + FIELDS_AT + to));
      numbers.push(...kept, ...Array<number>(to - kept.length).fill(Number.NaN), ...rows.subarray(fieldsEnd, end));
    }
    at = end;
  }
  return Float64Array.from(numbers);
}

function isAmount(value: number): boolean {
  return value >= 0 && value < Number.POSITIVE_INFINITY;
}

function broken(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `a report whose samples${what.startsWith('[') ? '' : ' '}${what}`);
}

/** Says the instances of a host, report by report, on one connection. */
export class NewsWriter {
  /** Null before the first report. */
  #said: Map<string, InstanceFacts> | null = null;

  /** Of all instances of the host, each named once. */
  write(statuses: readonly InstanceStatus[]): InstanceNews {
    const before = this.#said;
    const isSame = before !== null && isSameOrder(statuses, before);
    const said = isSame ? before : new Map<string, InstanceFacts>();
    const instances: InstanceFacts[] = [];
    for (const { sample: _, ...facts } of statuses) {
      const known = before?.get(facts.id);
      const isKnown = known !== undefined && isDeepStrictEqual(known, facts);
      if (!isKnown) instances.push(facts);
      if (!isKnown || !isSame) said.set(facts.id, isKnown ? known : facts);
    }
    this.#said = said;
    const news: InstanceNews = { instances, samples: writeSamples(statuses.map(({ sample }) => sample)) };
    if (!isSame) news.ids = statuses.map(({ id }) => id);
    const counts = statuses.flatMap(({ sample }, index) => countsOf(sample, index));
    if (counts.length > 0) news.counts = counts;
    return news;
  }
}

/** As a connection's first report says them. */
export function newsOf(statuses: readonly InstanceStatus[]): InstanceNews {
  return new NewsWriter().write(statuses);
}

/** As that link version has it. */
export function toWire(news: InstanceNews, version: number = LINK_VERSION): InstanceNews<Uint8Array> {
  const { buffer, byteOffset, byteLength } = withFields(news.samples, SAMPLE_FIELDS.length, fieldsIn(version));
  return { ...news, samples: Buffer.from(buffer, byteOffset, byteLength) };
}

function isSameOrder(statuses: readonly InstanceStatus[], before: ReadonlyMap<string, unknown>): boolean {
  if (statuses.length !== before.size) return false;
  let index = 0;
  for (const id of before.keys()) if (statuses[index++]?.id !== id) return false;
  return true;
}

function countsOf(sample: Sample | undefined, index: number): SampleCounts[] {
  if (sample === undefined) return [];
  const { heat, called } = sample;
  const counts: { heat?: ShardHeat[]; called?: Record<string, number> } = {};
  if (heat !== undefined && heat.length > 0) counts.heat = heat;
  if (called !== undefined && Object.keys(called).length > 0) counts.called = called;
  return Object.keys(counts).length === 0 ? [] : [{ index, ...counts }];
}
