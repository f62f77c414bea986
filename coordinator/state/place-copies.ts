import { LIMITS } from '../../protocol/limits.js';
import { hasShards, partitionOf, shardCountOf } from '../../protocol/manifest.js';
import { PLACE_DEFAULT } from '../../protocol/manifest-build.js';
import type { CopyRecord } from '../../protocol/state-copies.js';
import { copyName, keyOfName } from '../../protocol/state-copies-parse.js';
import { admits } from '../brain/placement.js';
import { replicaHosts } from '../brain/replica-hosts.js';
import {
  bump,
  type ClusterState,
  type ComponentEntry,
  componentsOf,
  epochsBefore,
  type InstanceRecord,
  isDrained,
  own,
  withoutCopies,
} from '../cluster.js';
import { HOST_LOST_MS, standingOf } from '../host-standing.js';
import { type HostState, isUsable, type Observed, seenOf, silentMs, usableHosts } from '../observed.js';
import type { Measured } from '../traffic.js';
import { movesNow, type PendingMove } from './moves-now.js';
import { nextRecord, RECORD_TIMING, type RecordTiming, type SeenHosts, type WantedShard } from './shard-record.js';

/** A host that has not been heard of for so long is not there, as far as its copies are concerned. */
const THERE_MS = 3_000;
const LIMITS_OF_MOVES = { movesMax: LIMITS.stateMovesMax, movesPerHostMax: LIMITS.stateMovesPerHostMax };
/** Decisions that need no answer in between are taken at once. */
const STEPS_MAX = 4;

/** A state shard of which no copy is left. */
export interface LostShards {
  app: string;
  component: string;
  shards: number[];
}

/** Since when records are in force, by this coordinator's clock. */
const sinceMsOf = new WeakMap<CopyRecord, number>();

/**
 * The next records of all state shards, towards the owners that the shard maps name and as many replicas as manifests ask for.
 * Called again with what it answered and the same reports it changes nothing more.
 */
export function placeCopies(
  state: ClusterState,
  observed: Observed,
  nowMs: number,
  measured: Measured,
  timing: RecordTiming = RECORD_TIMING,
): { state: ClusterState; lost: LostShards[] } {
  const lost: LostShards[] = [];
  const changed: [string, CopyRecord][] = [];
  const keys = new Set<string>();
  for (const entry of componentsOf(state)) {
    if (!hasShards(entry.component)) continue;
    keys.add(entry.key);
    const placed = new Placing(entry, state, observed, nowMs, measured, timing);
    const news = placed.run();
    changed.push(...news);
    if (placed.lost.length > 0) lost.push({ app: entry.app, component: entry.name, shards: placed.lost });
  }
  const gone = Object.keys(state.copies).filter((name) => !keys.has(keyOfName(name)));
  if (changed.length === 0 && gone.length === 0) return { state, lost };
  const left = gone.length === 0 ? state : { ...state, ...withoutCopies(state, gone) };
  const copies = { ...left.copies, ...Object.fromEntries(changed) };
  return { state: bump({ ...left, copies }), lost };
}

/** One component. */
class Placing {
  readonly lost: number[] = [];
  readonly #entry: ComponentEntry;
  readonly #state: ClusterState;
  readonly #observed: Observed;
  readonly #nowMs: number;
  readonly #measured: Measured;
  readonly #timing: RecordTiming;
  readonly #instances: readonly InstanceRecord[];

  constructor(
    entry: ComponentEntry,
    state: ClusterState,
    observed: Observed,
    nowMs: number,
    measured: Measured,
    timing: RecordTiming,
  ) {
    this.#entry = entry;
    this.#state = state;
    this.#observed = observed;
    this.#nowMs = nowMs;
    this.#measured = measured;
    this.#timing = timing;
    this.#instances = state.instances.byComponent.get(entry.key) ?? [];
  }

  run(): [string, CopyRecord][] {
    const { key, component } = this.#entry;
    const owners = own(this.#state.shards, key)?.owners ?? [];
    const places = new Map(this.#instances.map(({ id, host }) => [id, host]));
    const count = shardCountOf(component);
    const records = Array.from({ length: count }, (_, shard) => own(this.#state.copies, copyName(key, shard)) ?? null);
    // Hosts of an earlier version hold no copies.
    if (records.every((each) => each === null) && ![...places.values()].some((host) => this.#holds(host))) return [];
    const seats = records.map((record, shard) => {
      const instance = owners[shard] ?? null;
      const host = instance === null ? undefined : places.get(instance);
      return host === undefined ? (record?.owner ?? null) : { host, instance };
    });
    const replicas = this.#replicas(
      records,
      seats.map((seat) => seat?.host ?? null),
    );
    const moving = this.#moving(
      records,
      seats.map((seat) => seat?.host ?? null),
      replicas,
    );
    const { snapshotMs, replicas: beside = 0 } = partitionOf(component) ?? {};
    const common = {
      copiesMin: 1 + beside,
      restores: snapshotMs !== undefined,
      epochsBefore: epochsBefore(this.#state, key),
    };
    const changed: [string, CopyRecord][] = [];
    for (const [shard, before] of records.entries()) {
      const name = copyName(key, shard);
      const owner = seats[shard] ?? before?.owner ?? this.#anySeat(before);
      if (owner === null) continue;
      const wanted = { ...common, owner, replicas: replicas[shard] ?? [], mayMove: moving.has(name) };
      const after = this.#next(shard, before, wanted, this.#seen(name, before));
      if (after !== null && after !== before) changed.push([name, after]);
    }
    return changed;
  }

  /** While nobody is to own it: where it is. */
  #anySeat(record: CopyRecord | null): WantedShard['owner'] | null {
    const host = record?.inSync.find((each) => this.#observed.hosts.get(each)?.connected === true);
    return host === undefined ? null : { host, instance: null };
  }

  #next(shard: number, before: CopyRecord | null, wanted: WantedShard, seen: SeenHosts): CopyRecord | null {
    let record = before;
    let isLost = false;
    for (let steps = 0; steps < STEPS_MAX; steps += 1) {
      if (record !== null && !sinceMsOf.has(record)) sinceMsOf.set(record, this.#nowMs);
      const sinceMs = record === null ? 0 : this.#nowMs - (sinceMsOf.get(record) ?? this.#nowMs);
      const next = nextRecord(record, wanted, seen, this.#timing, sinceMs);
      if (next === record) break;
      isLost ||= next?.phase === 'lost';
      record = next;
    }
    if (isLost && record?.restore === undefined) this.lost.push(shard);
    return record;
  }

  #replicas(records: readonly (CopyRecord | null)[], owners: readonly (string | null)[]): string[][] {
    const { replicas = 0 } = partitionOf(this.#entry.component) ?? {};
    if (replicas === 0) return records.map(() => []);
    const { place: rules = PLACE_DEFAULT } = this.#entry.component;
    const hosts = usableHosts(this.#observed)
      .filter(({ info: { name, fabric, labels = {}, taints = [] } }) => {
        const isOpen = this.#holds(name) && fabric !== undefined && !isDrained(this.#state, name);
        return isOpen && admits({ labels, taints }, rules);
      })
      .map(({ info: { name, labels = {} } }) => ({
        name,
        ...(labels.zone === undefined ? {} : { zone: labels.zone }),
      }));
    const copies = records.map((record) => [
      ...(record?.inSync ?? []),
      ...(record?.joining.map(({ host }) => host) ?? []),
    ]);
    const filling = records.map((record) => record?.joining.map(({ host }) => host) ?? []);
    return replicaHosts({ owners, copies, filling, hosts, replicas }, LIMITS.stateMovesMax);
  }

  /** Shards that may be on their way now, to another owner or to other replicas. */
  #moving(
    records: readonly (CopyRecord | null)[],
    targets: readonly (string | null)[],
    replicas: readonly (readonly string[])[],
  ): Set<string> {
    const { key } = this.#entry;
    const heat = this.#measured.heatOf(key)?.heat;
    const pending: PendingMove[] = [];
    for (const [shard, record] of records.entries()) {
      const target = targets[shard] ?? null;
      if (record === null || target === null || record.owner === null) continue;
      const { owner, inSync, joining, phase } = record;
      const beside = replicas[shard] ?? [];
      // Where copies are too few they are filled in any case, and that alone lets no owner move.
      const lacking = inSync.length <= beside.length ? [] : beside.filter((host) => !inSync.includes(host));
      const to = owner.host === target ? lacking : [target, ...lacking];
      const underWay = phase === 'passing' || joining.some(({ host }) => to.includes(host));
      if (to.length === 0 && !underWay) continue;
      pending.push({ shard: copyName(key, shard), from: owner.host, to, heat: heat?.[shard] ?? 0, underWay });
    }
    return movesNow(pending, LIMITS_OF_MOVES);
  }

  #holds(host: string): boolean {
    return this.#observed.hosts.get(host)?.info.boot !== undefined;
  }

  #seen(name: string, record: CopyRecord | null): SeenHosts {
    const { hosts } = this.#observed;
    const isGone = (host: string) => this.#isGone(hosts.get(host), host);
    // Nobody could take its place: it is waited for.
    const isOnly = (host: string) => record?.inSync.length === 1 && record.inSync[0] === host && !isGone(host);
    return {
      isThere: (host) => isOnly(host) || this.#isThere(host),
      // Not from its hello on: what hosts are asked for is planned of those that have reported.
      speaks: (host) => isUsable(hosts.get(host)),
      isGone,
      bootOf: (host) => (isUsable(hosts.get(host)) ? (hosts.get(host)?.info.boot ?? null) : null),
      reporting: () => [...hosts].flatMap(([host, { copies }]) => (copies.has(name) ? [host] : [])),
      reportOf: (host) => hosts.get(host)?.copies.get(name) ?? null,
      instanceOn: (host) => {
        const here = this.#instances.filter((each) => each.host === host && each.draining === undefined);
        const ready = here.find((each) => seenOf(this.#observed, each)?.status.phase === 'ready');
        return (ready ?? here[0])?.id ?? null;
      },
    };
  }

  #isThere(host: string): boolean {
    return this.#holds(host) ? silentMs(this.#observed, host, this.#nowMs) < THERE_MS : this.#isNew();
  }

  /** This coordinator has only begun to look: a host that it has not seen may be there. */
  #isNew(): boolean {
    return this.#nowMs - this.#observed.sinceMs < THERE_MS;
  }

  #isGone(host: HostState | undefined, name: string): boolean {
    if (host !== undefined) return standingOf(host, this.#observed, this.#nowMs).state === 'lost';
    return silentMs(this.#observed, name, this.#nowMs) > HOST_LOST_MS;
  }
}
