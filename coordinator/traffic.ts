import type { Sample } from '../protocol/link.js';
import { shardCountOf } from '../protocol/manifest.js';
import type { Pace } from './brain/weights.js';
import {
  type ClusterState,
  type ComponentEntry,
  componentsOf,
  type InstanceRecord,
  instancesOf,
  own,
} from './cluster.js';
import type { ComponentSums } from './component-sums.js';
import type { Work } from './host-samples.js';
import { type Observed, type Seen, seenOf, workOf } from './observed.js';

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
  instances: Map<string, InstanceTraffic>;
  /** The same as they stood when last looked at: they mostly still do, and need not be looked for by their ids. */
  order: InstanceTraffic[];
  /** Sums of the component at that time, and their news: while they are the same, so is what was seen of each instance. */
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

/** The last sample that was looked at, as far as it is needed, and what was learned until then. Changed in place. */
interface InstanceTraffic extends Work {
  readonly id: string;
  seen: Seen;
  /** Of the last turn in which it was looked at. */
  lookedAtMs: number;
  latencyMs: number | null;
  utilisation: number;
}

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

  /** How fast each of the component's instances is. */
  pacesOf(key: string, instances: readonly InstanceRecord[], nowMs: number): Pace[] {
    const known = this.#components.get(key);
    const paces: Pace[] = [];
    for (const [i, { id, weight = 1, createdAtMs, draining }] of instances.entries()) {
      if (draining !== undefined) continue;
      const its = known === undefined ? undefined : trafficOf(known, i, id);
      const latencyMs = nowMs - createdAtMs < WARM_MS ? null : (its?.latencyMs ?? null);
      paces.push({ id, weight, latencyMs, utilisation: its?.utilisation ?? 0 });
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

function newTraffic({ component }: ComponentEntry, lookedAtMs: number, nowMs: number): ComponentTraffic {
  const shards = newShards(shardCountOf(component));
  const nothing = { instances: new Map(), order: [], sums: undefined, news: 0, talk: new Map() };
  return { lookedAtMs, sinceMs: nowMs, ...nothing, shards };
}

/** What is known of the instance of this id, the i-th of its component. */
function trafficOf({ order, instances }: ComponentTraffic, i: number, id: string): InstanceTraffic | undefined {
  const its = order[i];
  return its?.id === id ? its : instances.get(id);
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
  const isAsSeen = componentSums !== undefined && componentSums === known.sums && componentSums.news === known.news;
  known.sums = componentSums;
  known.news = componentSums?.news ?? 0;
  const order: InstanceTraffic[] = [];
  for (const [i, instance] of instances.entries()) {
    const { id } = instance;
    const its = trafficOf(known, i, id);
    const seen = isAsSeen && its !== undefined ? its.seen : seenOf(observed, instance);
    const work = seen === undefined ? undefined : workOf(seen);
    if (seen === undefined || work === undefined) continue;
    if (its === undefined) {
      const made = { id, seen, ...work, lookedAtMs: nowMs, latencyMs: null, utilisation: 0 };
      known.instances.set(id, made);
      order.push(made);
      continue;
    }
    order.push(its);
    its.seen = seen;
    its.lookedAtMs = nowMs;
    if (its.atMs >= work.atMs) continue;
    learn(its, work, instance.size.cpu, component.calls, sums);
    goOnFrom(its, work);
  }
  known.order = order;
  const present = order.length;
  if (known.instances.size > present) {
    for (const [id, its] of known.instances) if (its.lookedAtMs !== nowMs) known.instances.delete(id);
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

/** Adds the rates since the last look to the sums. Counters that went back are those of a new process. */
function learn(its: InstanceTraffic, work: Work, sizeCpu: number, mayCall: readonly string[], sums: Sums): void {
  const { cpuSeconds, finished, busyMs, heat, called } = work;
  if (cpuSeconds < its.cpuSeconds || finished < its.finished) {
    its.latencyMs = null;
    its.utilisation = 0;
    return;
  }
  const seconds = (work.atMs - its.atMs) / 1_000;
  const cpu = (cpuSeconds - its.cpuSeconds) / seconds;
  if (sums.shards !== null) addHeat(its, heat ?? [], cpu, seconds, sums.shards);
  // By the manifest's names: what a process makes up leaves no trace.
  for (const name of mayCall) {
    const rate = Math.max(0, (own(called ?? {}, name) ?? 0) - (own(its.called ?? {}, name) ?? 0)) / seconds;
    sums.called.set(name, (sums.called.get(name) ?? 0) + rate);
  }
  const share = 1 - Math.exp((-seconds * 1_000) / PACE_MS);
  its.utilisation += share * (cpu / Math.max(1e-3, sizeCpu) - its.utilisation);
  const calls = finished - its.finished;
  const busy = busyMs - its.busyMs;
  if (calls < CALLS_MIN || Number.isNaN(busy)) return;
  const mean = Math.max(0, busy) / calls;
  its.latencyMs = its.latencyMs === null ? mean : its.latencyMs + share * (mean - its.latencyMs);
}

/** The next look counts from this sample. */
function goOnFrom(its: InstanceTraffic, { atMs, cpuSeconds, finished, busyMs, heat, called }: Work): void {
  its.atMs = atMs;
  its.cpuSeconds = cpuSeconds;
  its.finished = finished;
  its.busyMs = busyMs;
  if (heat !== undefined || its.heat !== undefined) its.heat = heat ?? [];
  if (called !== undefined || its.called !== undefined) its.called = called ?? {};
}

/** The instance's CPU, split by the work that calls did on each of its shards. */
function addHeat(
  before: Work,
  heat: NonNullable<Sample['heat']>,
  cpu: number,
  seconds: number,
  sums: { heat: Float64Array; calls: Float64Array },
): void {
  if (heat.length === 0) return;
  const known = new Map((before.heat ?? []).map(([shard, calls, workMs]) => [shard, { calls, workMs }]));
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
