import type { SampleCounts } from '../protocol/instance-news.js';
import type { Sample } from '../protocol/link.js';
import { shardCountOf } from '../protocol/manifest.js';
import { isEven, newRange, type Pace, type PaceRange, widen } from './brain/weights.js';
import {
  type ClusterState,
  type ComponentEntry,
  componentsOf,
  type InstanceRecord,
  instancesOf,
  own,
} from './cluster.js';
import type { ComponentSums } from './component-sums.js';
import { type Observed, type Seen, seenOf } from './observed.js';

/** How hot a component's state shards are. */
export interface HeatView {
  /** Index: state shard; cores. */
  heat: ArrayLike<number>;
  /** Index: state shard; calls/s. */
  calls: ArrayLike<number>;
  /** Shards that changed hands lately. */
  resting: ReadonlySet<number>;
}

/** What has been measured of who does how much and who talks to whom. */
export interface Measured {
  /** Null: not measured for long enough. */
  heatOf(key: string): HeatView | null;
  /** Component called → calls/s. */
  talkOf(key: string): ReadonlyMap<string, number>;
}

export const NOTHING_MEASURED: Measured = { heatOf: () => null, talkOf: () => new Map() };

/** Each component is looked at so often; a few of them each second, so that no second has all the work. */
const LOOK_MS = 5_000;
/** Times after which a change has come through to 63 %. */
const HEAT_MS = 15_000;
const TALK_MS = 60_000;
const PACE_MS = 20_000;
/** Heat is believed once it has been measured for so long. */
const KNOWN_AFTER_MS = 15_000;
/** A shard that has changed hands stays for so long. */
const REST_MS = 60_000;
/** An instance younger than this still warms up, and is not judged by its latency. */
const WARM_MS = 30_000;
/** So many calls tell how long a call takes. */
const CALLS_MIN = 10;

interface ComponentTraffic {
  lookedAtMs: number;
  sinceMs: number;
  /** The component's instances when it was last looked at; what is known of the i-th of them has the same place below. */
  records: readonly InstanceRecord[];
  instances: InstanceTraffic[];
  /** NUMBERS of each. */
  numbers: Float64Array;
  range: PaceRange;
  /** Sums of the component at that time, and their news: while they are the same, so is where each instance is seen. */
  sums: ComponentSums | undefined;
  news: number;
  talk: Map<string, number>;
  shards: ShardTraffic | null;
}

/** Components that are looked at in the same second. */
type Turn = { entry: ComponentEntry; known: ComponentTraffic }[];

interface ShardTraffic {
  heat: Float64Array;
  calls: Float64Array;
  owners: readonly (string | null)[];
  movedAtMs: Float64Array;
}

/** What is known of an instance beside its numbers. Changed in place. */
interface InstanceTraffic {
  /** Undefined: its host does not name it. */
  seen: Seen | undefined;
  /** Of the last sample that was looked at; null: none. */
  counts: SampleCounts | null;
}

/**
 * Of an instance: when the last sample that was looked at was heard, and its counters; then how long a call takes, how much of
 * its CPU it uses, and how many cores it has. NaN: unknown. Rows of numbers, since a fifth of all instances are passed over
 * each second.
 */
const HEARD_MS = 0;
const CPU_SECONDS = 1;
const FINISHED = 2;
const BUSY_MS = 3;
const LATENCY_MS = 4;
const UTILISATION = 5;
const SIZE_CPU = 6;
const NUMBERS = 7;

/**
 * Heat of state shards, calls between components and pace of instances, from the samples that agents sent. Lives as
 * long as the coordinator; after a restart it is measured anew.
 */
export class Traffic implements Measured {
  readonly #components = new Map<string, ComponentTraffic>();
  /** The same by when they were last looked at, so that a second passes over those that are not due. */
  readonly #turns = new Map<number, Turn>();
  #apps: ClusterState['apps'] | null = null;

  /** Looks at the components that are due. Answers the keys of those. */
  look(state: ClusterState, observed: Observed, nowMs: number): string[] {
    if (state.apps !== this.#apps) this.#arrange(state, nowMs);
    const due: Turn = [];
    for (const [lookedAtMs, turn] of this.#turns) {
      if (nowMs - lookedAtMs < LOOK_MS) continue;
      this.#turns.delete(lookedAtMs);
      for (const each of turn) due.push(each);
    }
    if (due.length === 0) return [];
    this.#turns.set(nowMs, [...due, ...(this.#turns.get(nowMs) ?? [])]);
    for (const { entry, known } of due) lookAt(known, entry, state, observed, nowMs);
    return due.map(({ entry }) => entry.key);
  }

  heatOf(key: string): HeatView | null {
    const known = this.#components.get(key);
    const shards = known?.shards ?? null;
    if (known === undefined || shards === null || known.lookedAtMs - known.sinceMs < KNOWN_AFTER_MS) return null;
    const resting = new Set<number>();
    for (const [shard, movedAtMs] of shards.movedAtMs.entries()) {
      if (known.lookedAtMs - movedAtMs < REST_MS) resting.add(shard);
    }
    return { heat: shards.heat, calls: shards.calls, resting };
  }

  talkOf(key: string): ReadonlyMap<string, number> {
    return this.#components.get(key)?.talk ?? new Map();
  }

  areEven(key: string, instances: readonly InstanceRecord[]): boolean {
    const known = this.#components.get(key);
    return known !== undefined && known.records === instances && isEven(known.range);
  }

  /** How fast each of the component's instances is. */
  pacesOf(key: string, instances: readonly InstanceRecord[], nowMs: number): Pace[] {
    const { records, numbers } = this.#components.get(key) ?? NOTHING_KNOWN;
    const places = placesOf(records, instances);
    const paces: Pace[] = [];
    for (const [i, { id, weight = 1, createdAtMs, draining }] of instances.entries()) {
      if (draining !== undefined) continue;
      const row = (places[i] as number) * NUMBERS;
      const known = row >= 0 ? (numbers[row + LATENCY_MS] as number) : Number.NaN;
      const latencyMs = nowMs - createdAtMs < WARM_MS || Number.isNaN(known) ? null : known;
      paces.push({ id, weight, latencyMs, utilisation: row >= 0 ? (numbers[row + UTILISATION] as number) : 0 });
    }
    return paces;
  }

  /** Takes in that there are other components than before: they get turns, and those that are no more are forgotten. */
  #arrange(state: ClusterState, nowMs: number): void {
    const before = new Map(this.#components);
    this.#components.clear();
    this.#turns.clear();
    this.#apps = state.apps;
    let index = 0;
    for (const entry of componentsOf(state)) {
      const atFirstMs = nowMs - (index % (LOOK_MS / 1_000)) * 1_000;
      const known = before.get(entry.key) ?? newTraffic(entry, atFirstMs, nowMs);
      index += 1;
      this.#components.set(entry.key, known);
      const turn = this.#turns.get(known.lookedAtMs);
      if (turn === undefined) this.#turns.set(known.lookedAtMs, [{ entry, known }]);
      else turn.push({ entry, known });
    }
  }
}

const NOTHING_KNOWN: Pick<ComponentTraffic, 'records' | 'numbers'> = { records: [], numbers: new Float64Array() };

function newTraffic({ component }: ComponentEntry, lookedAtMs: number, nowMs: number): ComponentTraffic {
  const shards = newShards(shardCountOf(component));
  const nothing = {
    records: [],
    instances: [],
    numbers: new Float64Array(),
    range: newRange(),
    sums: undefined,
    news: 0,
  };
  return { lookedAtMs, sinceMs: nowMs, ...nothing, talk: new Map(), shards };
}

/** Where each of the instances was among those before; -1: it is new. */
function placesOf(before: readonly InstanceRecord[], instances: readonly InstanceRecord[]): number[] {
  let byId: Map<string, number> | null = null;
  return instances.map(({ id }, i) => {
    // Mostly they are the same ones.
    if (before[i]?.id === id) return i;
    byId ??= new Map(before.map((each, place) => [each.id, place]));
    return byId.get(id) ?? -1;
  });
}

/** Takes in that the component's instances are others, or not all seen where they were, than when it was last looked at. */
function arrange(
  known: ComponentTraffic,
  instances: readonly InstanceRecord[],
  areSeenThere: boolean,
  observed: Observed,
): void {
  const numbers = new Float64Array(instances.length * NUMBERS);
  const places = placesOf(known.records, instances);
  known.instances = instances.map((instance, i): InstanceTraffic => {
    const place = places[i] as number;
    const at = i * NUMBERS;
    if (place < 0) forget(numbers, at);
    else numbers.set(known.numbers.subarray(place * NUMBERS, (place + 1) * NUMBERS), at);
    numbers[at + SIZE_CPU] = instance.size.cpu;
    const its = known.instances[place];
    return areSeenThere && its !== undefined ? its : { seen: seenOf(observed, instance), counts: its?.counts ?? null };
  });
  known.numbers = numbers;
  known.records = instances;
  known.range.isWhole = instances.every(({ weight = 1 }) => weight === 1);
}

/** Of the instance whose numbers begin there nothing is known. */
function forget(numbers: Float64Array, at: number): void {
  numbers.fill(0, at, at + SIZE_CPU);
  numbers[at + HEARD_MS] = Number.NaN;
  numbers[at + LATENCY_MS] = Number.NaN;
}

/** Null for a component without state shards. */
function newShards(count: number): ShardTraffic | null {
  if (count === 0) return null;
  const zeros = () => new Float64Array(count);
  return { heat: zeros(), calls: zeros(), owners: [], movedAtMs: zeros() };
}

function lookAt(
  known: ComponentTraffic,
  { app, name, key, component }: ComponentEntry,
  state: ClusterState,
  observed: Observed,
  nowMs: number,
): void {
  const elapsedMs = nowMs - known.lookedAtMs;
  known.lookedAtMs = nowMs;
  const shardCount = shardCountOf(component);
  if (shardCount !== (known.shards?.heat.length ?? 0)) {
    known.shards = newShards(shardCount);
    known.sinceMs = nowMs;
  }
  const instances = instancesOf(state, app, name);
  // One alone without state that calls nobody: there is nothing to weigh.
  if (instances.length < 2 && known.shards === null && component.calls.length === 0) return;
  const sums: Sums = { shards: known.shards === null ? null : newSums(shardCount), called: new Map() };
  const componentSums = observed.components.get(key);
  const areSeenThere = componentSums !== undefined && componentSums === known.sums && componentSums.news === known.news;
  if (!areSeenThere || known.records !== instances) arrange(known, instances, areSeenThere, observed);
  known.sums = componentSums;
  known.news = componentSums?.news ?? 0;
  const { range, numbers } = known;
  Object.assign(range, newRange(), { isWhole: range.isWhole });
  for (let i = 0; i < instances.length; i += 1) {
    const at = i * NUMBERS;
    lookAtOne(known.instances[i] as InstanceTraffic, numbers, at, component.calls, sums);
    const latencyMs = numbers[at + LATENCY_MS] as number;
    if (!Number.isNaN(latencyMs)) widen(range, latencyMs);
    range.utilisation = Math.max(range.utilisation, numbers[at + UTILISATION] as number);
  }
  mix(known.talk, sums.called, 1 - Math.exp(-elapsedMs / TALK_MS));
  if (known.shards === null || sums.shards === null) return;
  const share = 1 - Math.exp(-elapsedMs / HEAT_MS);
  for (let shard = 0; shard < shardCount; shard += 1) {
    mixAt(known.shards.heat, shard, sums.shards.heat, share);
    mixAt(known.shards.calls, shard, sums.shards.calls, share);
  }
  noteMoves(known.shards, own(state.shards, key)?.owners ?? [], nowMs);
}

/** What the instances of a component did since the last look, rates: by state shard, and of calls by component called. */
interface Sums {
  /** Null: it has none. */
  shards: { heat: Float64Array; calls: Float64Array } | null;
  called: Map<string, number>;
}

function newSums(shardCount: number): { heat: Float64Array; calls: Float64Array } {
  return { heat: new Float64Array(shardCount), calls: new Float64Array(shardCount) };
}

/** Adds the rates since the last look to the sums, and learns how fast the instance is. */
function lookAtOne(
  its: InstanceTraffic,
  numbers: Float64Array,
  at: number,
  mayCall: readonly string[],
  sums: Sums,
): void {
  const { seen } = its;
  const heardMs = seen === undefined ? Number.NaN : seen.samples.heardMs(seen.row);
  if (seen === undefined || Number.isNaN(heardMs)) {
    forget(numbers, at);
    its.counts = null;
    return;
  }
  const beforeMs = numbers[at + HEARD_MS] as number;
  if (beforeMs >= heardMs) return;
  const { samples, row } = seen;
  const now = { cpuSeconds: samples.cpuSeconds(row), finished: samples.finished(row), busyMs: samples.busyMs(row) };
  const counts = samples.counts(row) ?? null;
  const seconds = (heardMs - beforeMs) / 1_000;
  if (!Number.isNaN(beforeMs)) {
    const cpu = now.cpuSeconds - (numbers[at + CPU_SECONDS] as number);
    const calls = now.finished - (numbers[at + FINISHED] as number);
    // Counters that went back are those of a new process.
    if (cpu < 0 || calls < 0) {
      numbers[at + LATENCY_MS] = Number.NaN;
      numbers[at + UTILISATION] = 0;
    } else {
      addCounts(its.counts, counts, cpu / seconds, seconds, mayCall, sums);
      learnPace(numbers, at, cpu / seconds, seconds, calls, now.busyMs - (numbers[at + BUSY_MS] as number));
    }
  }
  numbers[at + HEARD_MS] = heardMs;
  numbers[at + CPU_SECONDS] = now.cpuSeconds;
  numbers[at + FINISHED] = now.finished;
  numbers[at + BUSY_MS] = now.busyMs;
  its.counts = counts;
}

function addCounts(
  before: SampleCounts | null,
  after: SampleCounts | null,
  cpu: number,
  seconds: number,
  mayCall: readonly string[],
  sums: Sums,
): void {
  if (sums.shards !== null) addHeat(before?.heat ?? [], after?.heat ?? [], cpu, seconds, sums.shards);
  // By the manifest's names: what a process makes up leaves no trace.
  for (const name of mayCall) {
    const rate = Math.max(0, (own(after?.called ?? {}, name) ?? 0) - (own(before?.called ?? {}, name) ?? 0)) / seconds;
    sums.called.set(name, (sums.called.get(name) ?? 0) + rate);
  }
}

/** Cores used, and calls that ended in so many seconds and took so long in all. */
function learnPace(
  numbers: Float64Array,
  at: number,
  cpu: number,
  seconds: number,
  calls: number,
  busyMs: number,
): void {
  const share = 1 - Math.exp((-seconds * 1_000) / PACE_MS);
  const utilisation = numbers[at + UTILISATION] as number;
  const now = cpu / Math.max(1e-3, numbers[at + SIZE_CPU] as number);
  numbers[at + UTILISATION] = utilisation + share * (now - utilisation);
  if (calls < CALLS_MIN || Number.isNaN(busyMs)) return;
  const mean = Math.max(0, busyMs) / calls;
  const latencyMs = numbers[at + LATENCY_MS] as number;
  numbers[at + LATENCY_MS] = Number.isNaN(latencyMs) ? mean : latencyMs + share * (mean - latencyMs);
}

/** The instance's CPU, split by the work that calls did on each of its shards. */
function addHeat(
  before: NonNullable<Sample['heat']>,
  heat: NonNullable<Sample['heat']>,
  cpu: number,
  seconds: number,
  sums: { heat: Float64Array; calls: Float64Array },
): void {
  if (heat.length === 0) return;
  const known = new Map(before.map(([shard, calls, workMs]) => [shard, { calls, workMs }]));
  const rises = heat.map(([shard, calls, workMs]) => {
    const was = known.get(shard);
    return { shard, calls: Math.max(0, calls - (was?.calls ?? 0)), workMs: Math.max(0, workMs - (was?.workMs ?? 0)) };
  });
  const total = rises.reduce((sum, { workMs }) => sum + workMs, 0);
  for (const { shard, calls, workMs } of rises) {
    sums.calls[shard] = (sums.calls[shard] ?? 0) + calls / seconds;
    if (total > 0) sums.heat[shard] = (sums.heat[shard] ?? 0) + (cpu * workMs) / total;
  }
}

function noteMoves(shards: ShardTraffic, owners: readonly (string | null)[], nowMs: number): void {
  if (shards.owners === owners) return;
  for (const [shard, owner] of owners.entries()) {
    const before = shards.owners[shard] ?? null;
    if (before !== null && before !== owner) shards.movedAtMs[shard] = nowMs;
  }
  shards.owners = owners;
}

/** Brings what is known nearer to what was measured, by the share. */
function mix(known: Map<string, number>, measured: ReadonlyMap<string, number>, share: number): void {
  // Most components call nobody.
  if (known.size === 0 && measured.size === 0) return;
  for (const key of new Set([...known.keys(), ...measured.keys()])) {
    const value = known.get(key) ?? 0;
    known.set(key, value + share * ((measured.get(key) ?? 0) - value));
  }
}

function mixAt(known: Float64Array, index: number, measured: Float64Array, share: number): void {
  const value = known[index] ?? 0;
  known[index] = value + share * ((measured[index] ?? 0) - value);
}
