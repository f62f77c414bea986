import { isDeepStrictEqual } from 'node:util';
import type { Elsewhere } from '../protocol/link.js';
import type { AppRecord, ClusterState } from './cluster.js';
import { hostsBeside } from './copies-on.js';
import { componentKey } from './instance-table.js';

/** Manifest → component → those that it calls and that call it. Asked for each host, changes only with a manifest. */
const relatedKnown = new WeakMap<AppRecord, ReadonlyMap<string, ReadonlySet<string>>>();

function relatedOf(record: AppRecord): ReadonlyMap<string, ReadonlySet<string>> {
  let related = relatedKnown.get(record);
  if (related === undefined) {
    const components = record.manifest.components;
    const sets = new Map(Object.keys(components).map((name) => [name, new Set<string>()]));
    for (const [caller, { calls }] of Object.entries(components)) {
      for (const callee of calls) {
        sets.get(caller)?.add(callee);
        sets.get(callee)?.add(caller);
      }
    }
    related = sets;
    relatedKnown.set(record, related);
  }
  return related;
}

/** Keys of the components that those with an instance on the host call, or are called by. */
function relatedKeys(state: ClusterState, host: string): Set<string> {
  const keys = new Set<string>();
  const seen = new Set<string>();
  for (const { app, component } of state.instances.byHost.get(host) ?? []) {
    const key = componentKey(app, component);
    const record = state.apps[app];
    if (seen.has(key) || record === undefined) continue;
    seen.add(key);
    for (const name of relatedOf(record).get(component) ?? []) keys.add(componentKey(app, name));
  }
  return keys;
}

/** What other hosts have to do with this one, by their names: all that its agent needs to know of them. */
export function elsewhereFor(
  state: ClusterState,
  host: string,
  addressOf: (host: string) => string | null,
): Elsewhere[] {
  const found = new Map<string, Elsewhere>();
  for (const key of [...relatedKeys(state, host)].sort()) {
    for (const { id, app, component, host: there } of state.instances.byComponent.get(key) ?? []) {
      if (there === host) continue;
      let entry = found.get(there);
      if (entry === undefined) {
        entry = { host: there, address: addressOf(there), instances: [] };
        found.set(there, entry);
      }
      entry.instances.push({ id, app, component });
    }
  }
  for (const there of hostsBeside(state, host)) {
    if (!found.has(there)) found.set(there, { host: there, address: addressOf(there), instances: [] });
  }
  return [...found.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
}

/** Whether that has changed, addresses aside; cheap where no related component was touched. The host's own are as before. */
export function elsewhereDiffers(before: ClusterState, after: ClusterState, host: string): boolean {
  const keys = relatedKeys(after, host);
  const touched = [...keys].some(
    (key) => before.instances.byComponent.get(key) !== after.instances.byComponent.get(key),
  );
  if (!touched && before.copies === after.copies) return false;
  const of = (state: ClusterState) => elsewhereFor(state, host, () => null);
  return !isDeepStrictEqual(of(before), of(after));
}

/** Whether the agent of `host` is told of `other`. */
export function isTold(state: ClusterState, host: string, other: string): boolean {
  if (hostsBeside(state, host).has(other)) return true;
  const keys = relatedKeys(state, host);
  return (state.instances.byHost.get(other) ?? []).some(({ app, component }) => keys.has(componentKey(app, component)));
}
