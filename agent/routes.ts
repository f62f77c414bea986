import type { Route } from '../protocol/control.js';
import { type Component, shardCountOf } from '../protocol/manifest.js';

/** What routing needs to know of an instance. */
export interface Routable {
  id: string;
  app: string;
  component: string;
  serving: boolean;
  shards: readonly number[];
  frozen: readonly number[];
  weight: number;
  /** On another host. */
  far?: boolean;
}

/**
 * Where a caller's calls go: for each component that its manifest grants, the instances that serve; for a partitioned
 * one the owner of each state shard, and for a replicated one as well in the routes of its own instances. An owner is who holds the shard now, not who shall: a call must find the state.
 */
export function routesFor(
  app: string,
  callerName: string,
  caller: Component,
  components: Readonly<Record<string, Component>>,
  instances: readonly Routable[],
): Record<string, Route> {
  const routes: Record<string, Route> = {};
  for (const callee of caller.calls) {
    if (!Object.hasOwn(components, callee)) continue;
    const here = instances.filter((each) => each.app === app && each.component === callee);
    const all = here.filter((each) => each.serving);
    const near = all.filter((each) => each.far !== true);
    const serving = [...near, ...all.filter((each) => each.far === true)];
    const route: Route = { instances: serving.map((each) => each.id) };
    if (near.length < serving.length) route.near = near.length;
    if (serving.some(({ weight }) => weight !== 1)) route.weights = serving.map(({ weight }) => weight);
    const shardCount = shardCountOf(components[callee]);
    const isByKey = components[callee]?.state === 'partitioned' || callee === callerName;
    if (shardCount > 0 && isByKey) route.owners = ownersOf(here, shardCount);
    routes[callee] = route;
  }
  return routes;
}

/** Index: state shard; value: the instance that holds and serves it. */
export function ownersOf(instances: readonly Routable[], shardCount: number): (string | null)[] {
  const owners: (string | null)[] = Array.from({ length: shardCount }, () => null);
  for (const { id, shards, frozen } of instances) {
    const stale = new Set(frozen);
    for (const shard of shards) if (shard < shardCount && !stale.has(shard)) owners[shard] = id;
  }
  return owners;
}
