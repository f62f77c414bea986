import { createHash } from 'node:crypto';
import type { Seed } from '../protocol/link.js';
import type { ClusterState } from './cluster.js';
import { componentKey } from './instance-table.js';
import { isUsable, type Observed, seenOf } from './observed.js';

/** More are not asked: who asks turns to the registry then. */
const SEEDS_MAX = 3;
/** In these an instance does not tell that its image is whole on its host. */
const UNMADE: readonly string[] = ['starting', 'backoff', 'failed'];

/**
 * Hosts other than this one that run something of the image, a few of them. Each host that asks is given others first, so
 * that not all ask one; those that have got it are among them from then on. Pure.
 */
export function seedsFor(state: ClusterState, observed: Observed, image: string, asking: string): Seed[] {
  const instances = keysOf(state, image).flatMap((key) => state.instances.byComponent.get(key) ?? []);
  const first = createHash('sha256').update(asking).digest().readUInt32LE() % Math.max(1, instances.length);
  const found = new Map<string, Seed>();
  for (const instance of [...instances.slice(first), ...instances.slice(0, first)]) {
    if (found.size === SEEDS_MAX) break;
    const { host } = instance;
    const there = observed.hosts.get(host);
    const address = there?.info.fabric;
    const phase = seenOf(observed, instance)?.status.phase;
    const has = phase !== undefined && !UNMADE.includes(phase);
    if (host !== asking && has && isUsable(there) && address !== undefined) found.set(host, { host, address });
  }
  return [...found.values()];
}

/** Keys of the components of which every instance is of the image. */
function keysOf({ apps }: ClusterState, image: string): string[] {
  return Object.entries(apps).flatMap(([app, { manifest }]) =>
    Object.entries(manifest.components)
      .filter(([, { source }]) => source.kind === 'image' && source.image === image)
      .map(([component]) => componentKey(app, component)),
  );
}
