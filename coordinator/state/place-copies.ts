import { LIMITS } from '../../protocol/limits.js';
import { hasShards, partitionOf, shardCountOf } from '../../protocol/manifest.js';
import { PLACE_DEFAULT } from '../../protocol/manifest-build.js';
import type { CopyRecord, Joining } from '../../protocol/state-copies.js';
import { copyName, keyOfName } from '../../protocol/state-copies-parse.js';
import { admits } from '../brain/placement.js';
import { replicaHosts } from '../brain/replica-hosts.js';
import {
  bump,
  type ClusterState,
  type ComponentEntry,
  componentKey,
  componentsOf,
  epochsBefore,
  type InstanceRecord,
  isDrained,
  own,
  withLost,
  withoutCopies,
} from '../cluster.js';
import { HOST_LOST_MS, standingOf } from '../host-standing.js';
import { type HostState, isUsable, type Observed, seenOf, silentMs, usableHosts } from '../observed.js';
import type { Measured } from '../traffic.js';
import { type MovesNow, movesNow, type PendingMove } from './moves-now.js';
import {
  isRestoring,
  nextRecord,
  RECORD_TIMING,
  type RecordTiming,
  type SeenHosts,
  type WantedShard,
} from './shard-record.js';

/** A host that has not been heard of for so long is not there, as far as its copies are concerned. */
const THERE_MS = 3_000;
const LIMITS_OF_MOVES = {
  perHostMax: LIMITS.stateFillsPerHostMax,
  elsewherePerHostMax: LIMITS.stateMovesPerHostMax,
  elsewhereMax: LIMITS.stateMovesMax,
};
/** Decisions that need no answer in between are taken at once. */
const STEPS_MAX = 4;

/** State shards of which no copy was left, and that begin empty. */
export interface LostShards {
  app: string;
  component: string;
  shards: number[];
}

/** Since when records are in force, by this coordinator's clock. */
const sinceMsOf = new WeakMap<CopyRecord, number>();
/** The same of hosts that are being filled. */
const fillSinceMsOf = new WeakMap<Joining, number>();

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
  const entries = componentsOf(state).filter(({ component }) => hasShards(component));
  const placings = entries.map((entry) => new Placing(entry, state, observed, nowMs, measured, timing));
  const now = movesNow(
    placings.flatMap((each) => each.pending()),
    LIMITS_OF_MOVES,
  );
  const changed = placings.flatMap((each) => each.next(now));
  for (const { entry, lost: shards } of placings) {
    if (shards.length > 0) lost.push({ app: entry.app, component: entry.name, shards });
  }
  const keys = new Set(entries.map(({ key }) => key));
  const gone = Object.keys(state.copies).filter((name) => !keys.has(keyOfName(name)));
  if (changed.length === 0 && gone.length === 0) return { state, lost };
  const left = gone.length === 0 ? state : { ...state, ...withoutCopies(state, gone) };
  const copies = { ...left.copies, ...Object.fromEntries(changed) };
  let next = { ...left, copies };
  for (const { app, component, shards } of lost) {
    next = { ...next, stateLost: withLost(next, componentKey(app, component), shards, nowMs) };
  }
  return { state: bump(next), lost };
}

/** One component. */
class Placing {
  readonly entry: ComponentEntry;
  readonly lost: number[] = [];
  readonly #state: ClusterState;
  readonly #observed: Observed;
  readonly #nowMs: number;
  readonly #measured: Measured;
  readonly #timing: RecordTiming;
  readonly #instances: readonly InstanceRecord[];
  /** Index: state shard; as stored. Empty where hosts are of an earlier version, which hold no copies. */
  readonly #stored: readonly (CopyRecord | null)[];
  readonly #seats: readonly (WantedShard['owner'] | null)[];
  readonly #replicas: readonly (readonly string[])[];
  /** With all that is done without a decision about other shards. */
  readonly #records: (CopyRecord | null)[];

  constructor(
    entry: ComponentEntry,
    state: ClusterState,
    observed: Observed,
    nowMs: number,
    measured: Measured,
    timing: RecordTiming,
  ) {
    this.entry = entry;
    this.#state = state;
    this.#observed = observed;
    this.#nowMs = nowMs;
    this.#measured = measured;
    this.#timing = timing;
    this.#instances = state.instances.byComponent.get(entry.key) ?? [];
    const places = new Map(this.#instances.map(({ id, host }) => [id, host]));
    const records = Array.from({ length: shardCountOf(entry.component) }, (_, shard) => {
      return own(state.copies, copyName(entry.key, shard)) ?? null;
    });
    const isHeld = records.some((each) => each !== null) || [...places.values()].some((host) => this.#holds(host));
    this.#stored = isHeld ? records : [];
    const owners = own(state.shards, entry.key)?.owners ?? [];
    this.#seats = this.#stored.map((record, shard) => {
      const instance = owners[shard] ?? null;
      const host = instance === null ? undefined : places.get(instance);
      return host === undefined ? (record?.owner ?? null) : { host, instance };
    });
    this.#replicas = this.#replicaHosts();
    this.#records = this.#stored.map((record, shard) => this.#advanced(record, shard, isBegunIn(record)));
  }

  /** The next records of those that shall have another one, some of which go where they may go `now`. */
  next(now: MovesNow): [string, CopyRecord][] {
    return this.#stored.flatMap((stored, shard): [string, CopyRecord][] => {
      const name = copyName(this.entry.key, shard);
      const record = this.#records[shard] ?? null;
      const hosts = now.get(name);
      const next = hosts === undefined ? record : this.#advanced(record, shard, (host) => hosts.has(host));
      return next === null || next === stored ? [] : [[name, next]];
    });
  }

  /** While nobody is to own it: where it is. */
  #anySeat(record: CopyRecord | null): WantedShard['owner'] | null {
    const host = record?.inSync.find((each) => this.#observed.hosts.get(each)?.connected === true);
    return host === undefined ? null : { host, instance: null };
  }

  #advanced(before: CopyRecord | null, shard: number, mayGoTo: WantedShard['mayGoTo']): CopyRecord | null {
    const { key, component } = this.entry;
    const owner = this.#seats[shard] ?? before?.owner ?? this.#anySeat(before);
    if (owner === null) return before;
    const { snapshotMs, replicas: beside = 0 } = partitionOf(component) ?? {};
    const wanted = {
      owner,
      replicas: this.#replicas[shard] ?? [],
      copiesMin: 1 + beside,
      restores: snapshotMs !== undefined,
      epochsBefore: epochsBefore(this.#state, key),
    };
    const seen = this.#seen(copyName(key, shard), before);
    let record = before;
    let isLost = false;
    for (let steps = 0; steps < STEPS_MAX; steps += 1) {
      const last = record;
      const sinceMs = last === null ? 0 : this.#sinceMs(last);
      const may = (host: string) => mayGoTo(host) || isUnservedWith(last, host);
      const next = nextRecord(last, { ...wanted, mayGoTo: may }, seen, this.#timing, sinceMs);
      if (next === last) break;
      isLost ||= last?.phase === 'lost' && next?.phase === 'serving' && next.restore === undefined;
      record = next;
    }
    if (isLost) this.lost.push(shard);
    return record;
  }

  #sinceMs(record: CopyRecord): number {
    const sinceMs = sinceMsOf.get(record) ?? this.#nowMs;
    sinceMsOf.set(record, sinceMs);
    return this.#nowMs - sinceMs;
  }

  #replicaHosts(): string[][] {
    const records = this.#stored;
    const { replicas = 0 } = partitionOf(this.entry.component) ?? {};
    if (replicas === 0) return records.map(() => []);
    const { place: rules = PLACE_DEFAULT } = this.entry.component;
    const hosts = usableHosts(this.#observed)
      .filter(({ info: { name, fabric, labels = {}, taints = [] } }) => {
        const isOpen = this.#holds(name) && fabric !== undefined && !isDrained(this.#state, name);
        return isOpen && admits({ labels, taints }, rules);
      })
      .map(({ info: { name, labels = {} } }) => ({
        name,
        ...(labels.zone === undefined ? {} : { zone: labels.zone }),
      }));
    const owners = this.#seats.map((seat) => seat?.host ?? null);
    const copies = records.map((record) => [
      ...(record?.inSync ?? []),
      ...(record?.joining.map(({ host }) => host) ?? []),
    ]);
    const filling = records.map((record) => record?.joining.map(({ host }) => host) ?? []);
    return replicaHosts({ owners, copies, filling, hosts, replicas }, LIMITS.stateMovesMax);
  }

  /** Where shards are to go, another owner or more copies, and where they have begun to. */
  pending(): PendingMove[] {
    const heat = this.#measured.heatOf(this.entry.key)?.heat;
    return this.#records.flatMap((record, shard) => {
      const target = this.#seats[shard]?.host ?? null;
      if (record === null || record.owner === null || target === null) return [];
      return this.#pendingOf(record, record.owner, shard, target, heat?.[shard] ?? 0);
    });
  }

  #pendingOf(
    record: CopyRecord,
    { host: from, instance }: WantedShard['owner'],
    shard: number,
    target: string,
    heat: number,
  ): PendingMove[] {
    const { inSync, joining, phase, passTo } = record;
    const beside = this.#replicas[shard] ?? [];
    const lacking = beside.filter((host) => !inSync.includes(host));
    const isThereAlready = from === target || isUnservedWith(record, target);
    // Replicas first: to fill the next owner alone makes no shard safe that it leaves.
    const to = isThereAlready ? lacking : [...lacking, target];
    if (to.length === 0) return [];
    const missing = 1 + beside.length - inSync.length;
    const name = copyName(this.entry.key, shard);
    const isWaiting = phase === 'passing' || isRestoring(record, this.#seen(name, record));
    return to.flatMap((host, i): PendingMove[] => {
      const filling = joining.find((each) => each.host === host);
      const isBegun = filling !== undefined || passTo?.host === host;
      const isAway = !this.#isThere(from) || !this.#isThere(host);
      if (!isBegun && (isWaiting || isAway)) return [];
      const isHeldUp = isAway || (filling !== undefined && this.#isSlow(filling));
      const begun = isHeldUp ? 'held-up' : 'yes';
      const isUnserved = instance === null && host === target;
      const why = isUnserved ? 'unserved' : i < missing ? 'missing' : 'elsewhere';
      return [{ shard: name, from, to: host, why, copies: inSync.length + i, heat, begun: isBegun ? begun : 'no' }];
    });
  }

  #isSlow(filling: Joining): boolean {
    const sinceMs = fillSinceMsOf.get(filling) ?? this.#nowMs;
    fillSinceMsOf.set(filling, sinceMs);
    return this.#nowMs - sinceMs > LIMITS.stateFillMsMax;
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
      isGivenUp: (host) => isDrained(this.#state, host),
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

/** What has begun goes on. */
function isBegunIn(record: CopyRecord | null): WantedShard['mayGoTo'] {
  return (host) => record?.passTo?.host === host || record?.joining.some((each) => each.host === host) === true;
}

/** Nobody serves the shard, and the host has it: it goes there without waiting for a turn. */
function isUnservedWith(record: CopyRecord | null, host: string): boolean {
  return record !== null && record.owner?.instance === null && record.inSync.includes(host);
}
