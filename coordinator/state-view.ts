import type { CacheFigures } from '../protocol/cache-figures.js';
import type { CopiesView, SegmentView, ShardMoveView, ShardView } from '../protocol/http.js';
import type { CopyRecord } from '../protocol/state-copies.js';
import { copyName } from '../protocol/state-copies-parse.js';
import { sumOfCaches } from './caches-on-host.js';
import { type ClusterState, instancesOf, own } from './cluster.js';
import type { Observed } from './observed.js';
import type { StateWork } from './state-on-host.js';
import type { Measured } from './traffic.js';

interface Known {
  state: ClusterState;
  observed: Observed;
  measured: Measured;
}

/** The state shards of a component in the order of their numbers; null for components without. */
export function shardViews(known: Known, app: string, component: string): ShardView[] | null {
  const { state, observed, measured } = known;
  const key = `${app}/${component}`;
  const owners = own(state.shards, key)?.owners;
  if (owners === undefined) return null;
  const heat = measured.heatOf(key);
  const hostOf = new Map(instancesOf(state, app, component).map(({ id, host }) => [id, host]));
  const servers = serversOf(observed, app, component);
  const lostAtMs = own(state.stateLost, key)?.atMs;
  return owners.map((owner, shard) => {
    const record = own(state.copies, copyName(key, shard));
    const servedBy = servers.get(shard) ?? null;
    const host = record?.owner?.host ?? hostOf.get(servedBy ?? owner ?? '') ?? null;
    return {
      shard,
      owner,
      cpu: heat?.heat[shard] ?? 0,
      callsPerSecond: heat?.calls[shard] ?? 0,
      copies: copiesView(record),
      holds: host === null ? null : holdsView(observed, host, key, shard),
      move: moveView(owner, servedBy, record),
      lostAtMs: lostAtMs?.[shard] ?? null,
    };
  });
}

/** How many state shards have fewer copies with all acknowledged writes than the manifest wants, the owner's among them. */
export function shardsShort(shards: readonly ShardView[], replicas: number): number {
  const isShort = ({ copies }: ShardView) => (copies === null ? replicas > 0 : copies.inSync.length < 1 + replicas);
  return shards.filter(isShort).length;
}

/** By shard: the instance that says it serves it. */
function serversOf({ hosts }: Observed, app: string, component: string): Map<number, string> {
  const servers = new Map<number, string>();
  for (const { statuses } of hosts.values()) {
    for (const { status } of statuses.values()) {
      if (status.app !== app || status.component !== component) continue;
      for (const shard of status.shards) servers.set(shard, status.id);
    }
  }
  return servers;
}

function holdsView({ hosts }: Observed, host: string, key: string, shard: number): SegmentView | null {
  const found = hosts.get(host)?.state.segment(key, shard);
  if (found === undefined) return null;
  const { entries, liveBytes, heldBytes, reads, writes, refused } = found;
  return { host, entries, liveBytes, heldBytes, reads, writes, refused };
}

function moveView(owner: string | null, servedBy: string | null, record: CopyRecord | undefined): ShardMoveView | null {
  const from = record?.owner?.host ?? null;
  if (record?.passTo !== undefined && record.passTo.host !== from)
    return { kind: 'host', from, to: [record.passTo.host] };
  if (record !== undefined && record.joining.length > 0)
    return { kind: 'copy', from, to: record.joining.map(({ host }) => host) };
  if (owner === null || servedBy === owner) return null;
  return { kind: 'instance', from: servedBy, to: [owner] };
}

function copiesView(record: CopyRecord | undefined): CopiesView | null {
  if (record === undefined) return null;
  const { epoch, phase, owner, inSync, joining } = record;
  return { epoch, phase, owner: owner?.host ?? null, inSync, joining: joining.map(({ host }) => host) };
}

/** What instances on all hosts do with the component's cache; null while no host has said so. */
export function cacheView({ hosts }: Observed, key: string): CacheFigures | null {
  return sumOfCaches([...hosts.values()].flatMap(({ caches }) => caches.of(key) ?? []));
}

/** What was done with the state of a component on all hosts; null while no host has said so. */
export function stateWork({ hosts }: Observed, key: string): StateWork | null {
  const each = [...hosts.values()].flatMap(({ state }) => state.work(key) ?? []);
  if (each.length === 0) return null;
  const sum = (of: (work: StateWork) => number) => each.reduce((total, work) => total + of(work), 0);
  return {
    reads: sum(({ reads }) => reads),
    writes: sum(({ writes }) => writes),
    refused: sum(({ refused }) => refused),
    copyReads: sum(({ copyReads }) => copyReads),
  };
}

/** Of memory on all hosts that the segments of a component take. */
export function stateHeldBytes({ hosts }: Observed, key: string): number {
  const segments = [...hosts.values()].flatMap(({ state }) => [...state.segments(key)]);
  return segments.reduce((total, { heldBytes }) => total + heldBytes, 0);
}
