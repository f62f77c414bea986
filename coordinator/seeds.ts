import { createHash } from 'node:crypto';
import type { BuildStatus, Built, Seed } from '../protocol/link.js';
import { appsOn, type ClusterState } from './cluster.js';
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
  const found = new Map<string, Seed>();
  for (const instance of inTurn(instances, asking)) {
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

/** The image of a build, if a host has made it, and a few hosts other than this one that have that very image. Pure. */
export function builtBy(
  state: ClusterState,
  observed: Observed,
  id: string,
  asking: string,
): (Built & { manifest: string }) | null {
  const made: { seed: Seed; build: BuildStatus; manifest: string }[] = [];
  for (const there of observed.hosts.values()) {
    const { name: host, fabric: address } = there.info;
    if (host === asking || !isUsable(there) || address === undefined) continue;
    const build = there.builds.find((each) => each.id === id && each.state === 'built');
    if (build?.image === undefined) continue;
    // A host speaks for the apps that are on it, and those alone are anything to the one that asks.
    const isOfBoth = [host, asking].every((each) => appsOn(state, each).includes(build.app));
    if (isOfBoth) made.push({ seed: { host, address }, build, manifest: build.image });
  }
  // Of hosts that have each built it, the first one's: from then on it is the one that goes around.
  const first = made.toSorted((a, b) => endOf(a.build) - endOf(b.build))[0];
  if (first === undefined) return null;
  const { manifest } = first;
  const hosts = made.filter((each) => each.manifest === manifest).map(({ seed }) => seed);
  return { manifest, hosts: inTurn(hosts, asking).slice(0, SEEDS_MAX) };
}

function endOf({ endedMs = Number.POSITIVE_INFINITY }: BuildStatus): number {
  return endedMs;
}

/** Each host that asks begins elsewhere. */
function inTurn<T>(all: readonly T[], asking: string): T[] {
  const first = createHash('sha256').update(asking).digest().readUInt32LE() % Math.max(1, all.length);
  return [...all.slice(first), ...all.slice(0, first)];
}

/** Keys of the components of which every instance is of the image. */
function keysOf({ apps }: ClusterState, image: string): string[] {
  return Object.entries(apps).flatMap(([app, { manifest }]) =>
    Object.entries(manifest.components)
      .filter(([, { source }]) => source.kind === 'image' && source.image === image)
      .map(([component]) => componentKey(app, component)),
  );
}
