import type { CopyRecord } from '../protocol/state-copies.js';
import { hostsOf, keyOfName } from '../protocol/state-copies-parse.js';
import type { ClusterState } from './cluster.js';

type Records = ClusterState['copies'];

/** By host: components of which it has a copy or is to get one, and the other hosts that have to do with these. */
interface Placed {
  keys: Set<string>;
  hosts: Set<string>;
}

/** Asked for each host, changes only with a record. */
const placedKnown = new WeakMap<Records, ReadonlyMap<string, Placed>>();
const byKeyKnown = new WeakMap<Records, ReadonlyMap<string, Record<string, CopyRecord>>>();

function placedIn(records: Records): ReadonlyMap<string, Placed> {
  const known = placedKnown.get(records);
  if (known !== undefined) return known;
  const placed = new Map<string, Placed>();
  for (const [name, record] of Object.entries(records)) {
    const hosts = hostsOf(record);
    for (const host of hosts) {
      let entry = placed.get(host);
      if (entry === undefined) {
        entry = { keys: new Set(), hosts: new Set() };
        placed.set(host, entry);
      }
      entry.keys.add(keyOfName(name));
      for (const other of hosts) if (other !== host) entry.hosts.add(other);
    }
  }
  placedKnown.set(records, placed);
  return placed;
}

function byKey(records: Records): ReadonlyMap<string, Record<string, CopyRecord>> {
  const known = byKeyKnown.get(records);
  if (known !== undefined) return known;
  const groups = new Map<string, Record<string, CopyRecord>>();
  for (const [name, record] of Object.entries(records)) {
    const key = keyOfName(name);
    const group = groups.get(key) ?? {};
    group[name] = record;
    groups.set(key, group);
  }
  byKeyKnown.set(records, groups);
  return groups;
}

/** Components whose copies concern the host: it has one, or runs an instance. */
function keysOn(state: ClusterState, host: string): Set<string> {
  const keys = new Set(placedIn(state.copies).get(host)?.keys);
  const groups = byKey(state.copies);
  for (const { app, component } of state.instances.byHost.get(host) ?? []) {
    if (groups.has(`${app}/${component}`)) keys.add(`${app}/${component}`);
  }
  return keys;
}

/** Other hosts with which this one shares a state shard. */
export function hostsBeside({ copies }: ClusterState, host: string): ReadonlySet<string> {
  return placedIn(copies).get(host)?.hosts ?? new Set();
}

/**
 * The records that the host is told: all of each component of which it has a copy or an instance, so that it also learns that
 * it is to have a copy no more.
 */
export function copiesOn(state: ClusterState, host: string): Record<string, CopyRecord> {
  const groups = byKey(state.copies);
  return Object.assign({}, ...[...keysOn(state, host)].sort().map((key) => groups.get(key)));
}

/** Whether these have changed. The host's instances are as before. */
export function copiesDiffer(before: ClusterState, after: ClusterState, host: string): boolean {
  const [old, now] = [copiesOn(before, host), copiesOn(after, host)];
  const names = Object.keys(now);
  return names.length !== Object.keys(old).length || names.some((name) => old[name] !== now[name]);
}
