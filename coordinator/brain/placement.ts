import type { Size } from '../../protocol/link.js';
import { byNumberedName } from './shards.js';

export interface PlaceInstance {
  id: string;
  app: string;
  component: string;
  size: Size;
  /** Where it runs already; it stays there while the host is there. */
  host?: string;
}
export interface PlaceHost {
  name: string;
  cores: number;
  memoryBytes: number;
}
export interface PlaceOptions {
  /** Sizes are upper bounds and CPU gives way, so more than the host's cores may be allotted. */
  cpuOvercommit?: number;
  memoryOvercommit?: number;
}
export interface Placement {
  /** Instance id → host name. */
  hosts: Record<string, string>;
  /** Ids that fit nowhere. */
  unplaced: string[];
}

interface Load {
  host: PlaceHost;
  cpu: number;
  memory: number;
  /** Instances per `app/component`. */
  counts: Map<string, number>;
}

/**
 * Gives each instance a host on which it fits: the host with the fewest of the same component, then the one least
 * full afterwards. Larger instances choose first. Independent of the order of both lists.
 */
export function place(instances: PlaceInstance[], hosts: PlaceHost[], options: PlaceOptions = {}): Placement {
  const cpuOvercommit = options.cpuOvercommit ?? 4;
  const memoryOvercommit = options.memoryOvercommit ?? 1;
  const loads = hosts
    .toSorted((a, b) => byNumberedName(a.name, b.name))
    .map((host): Load => ({ host, cpu: 0, memory: 0, counts: new Map() }));
  const chosen = new Map<string, string>();
  const unplaced: string[] = [];

  const fresh: PlaceInstance[] = [];
  for (const instance of instances) {
    const load = loads.find(({ host }) => host.name === instance.host);
    if (load === undefined) fresh.push(instance);
    else settle(instance, load, chosen);
  }
  fresh.sort((a, b) => b.size.memory - a.size.memory || b.size.cpu - a.size.cpu || byNumberedName(a.id, b.id));
  for (const instance of fresh) {
    const fitting = loads.filter(
      ({ host, cpu, memory }) =>
        cpu + instance.size.cpu <= host.cores * cpuOvercommit &&
        memory + instance.size.memory <= host.memoryBytes * memoryOvercommit,
    );
    const [best] = fitting.toSorted((a, b) => sameOn(a, instance) - sameOn(b, instance) || compareFull(a, b, instance));
    if (best === undefined) unplaced.push(instance.id);
    else settle(instance, best, chosen);
  }
  return { hosts: Object.fromEntries(chosen), unplaced };
}

function settle(instance: PlaceInstance, load: Load, chosen: Map<string, string>): void {
  load.cpu += instance.size.cpu;
  load.memory += instance.size.memory;
  load.counts.set(kindOf(instance), sameOn(load, instance) + 1);
  chosen.set(instance.id, load.host.name);
}

function kindOf(instance: PlaceInstance): string {
  return `${instance.app}/${instance.component}`;
}

function sameOn(load: Load, instance: PlaceInstance): number {
  return load.counts.get(kindOf(instance)) ?? 0;
}

function compareFull(a: Load, b: Load, instance: PlaceInstance): number {
  return fullness(a, instance) - fullness(b, instance) || byNumberedName(a.host.name, b.host.name);
}

/** The scarcer of CPU and memory, as a share of the host. */
function fullness({ host, cpu, memory }: Load, { size }: PlaceInstance): number {
  return Math.max(
    (cpu + size.cpu) / Math.max(1e-3, host.cores),
    (memory + size.memory) / Math.max(1, host.memoryBytes),
  );
}
