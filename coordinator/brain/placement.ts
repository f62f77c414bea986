import type { Size } from '../../protocol/link.js';
import { byNumberedName } from './shards.js';

/**
 * Where new instances go. Instances that run stay where they are; the larger of the new ones choose first, and each takes
 * the host of the lowest cost. Pure, and independent of the order in which hosts and groups are given.
 */
export interface PlaceHost {
  name: string;
  cores: number;
  memoryBytes: number;
  /** Instances that run on it or are to. */
  running: Iterable<{ size: Size }>;
}

/** New instances of one component, all of the same size. */
export interface PlaceGroup {
  /** The component's key. */
  key: string;
  ids: readonly string[];
  size: Size;
  /** Hosts of the component's other instances, one entry for each. */
  hosts: readonly string[];
}

export interface Placement {
  /** Instance id → host name. */
  hosts: ReadonlyMap<string, string>;
  /** Ids that fit nowhere. */
  unplaced: readonly string[];
}

/** Sizes are upper bounds and CPU gives way, so more than the host's cores may be allotted. Memory does not. */
export const CPU_OVERCOMMIT = 4;
const MEMORY_OVERCOMMIT = 1;

/**
 * The cost of a host for an instance, in the unit of a whole host's load. A second instance of the same component on a
 * host costs more than any difference of load, so that a component is spread first.
 */
const COST = { same: 2, load: 1 };

/** Of the hosts that have nothing to do with the component, the least loaded so many are weighed. */
const CANDIDATES = 16;

export function place(groups: readonly PlaceGroup[], hosts: readonly PlaceHost[]): Placement {
  const chosen = new Map<string, string>();
  const unplaced: string[] = [];
  if (groups.length === 0) return { hosts: chosen, unplaced };
  const loads = new HostLoads(hosts);
  // Room only shrinks here, so that what is as large as something that found none need not look.
  const failed: Size[] = [];
  for (const group of groups.toSorted(largerFirst)) {
    const counts = countBy(group.hosts);
    const ids = group.ids.toSorted(byNumberedName);
    for (const [index, id] of ids.entries()) {
      const hopeless = failed.some(({ cpu, memory }) => cpu <= group.size.cpu && memory <= group.size.memory);
      const best = hopeless ? undefined : cheapest(loads, group, counts);
      if (best === undefined) {
        unplaced.push(...ids.slice(index));
        if (!hopeless) failed.push(group.size);
        break;
      }
      loads.add(best, group.size);
      counts.set(best.name, (counts.get(best.name) ?? 0) + 1);
      chosen.set(id, best.name);
    }
  }
  return { hosts: chosen, unplaced };
}

function largerFirst(a: PlaceGroup, b: PlaceGroup): number {
  return b.size.memory - a.size.memory || b.size.cpu - a.size.cpu || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

function cheapest(loads: HostLoads, { size }: PlaceGroup, counts: ReadonlyMap<string, number>): Load | undefined {
  let best: Load | undefined;
  let lowest = Number.POSITIVE_INFINITY;
  const weigh = (load: Load) => {
    const cost = COST.same * (counts.get(load.name) ?? 0) + COST.load * shareWith(load, size);
    if (cost > lowest || (cost === lowest && best !== undefined && byNumberedName(load.name, best.name) > 0)) return;
    best = load;
    lowest = cost;
  };
  for (const name of counts.keys()) {
    const load = loads.get(name);
    if (load !== undefined && fits(load, size)) weigh(load);
  }
  let seen = 0;
  for (const load of loads.ascending()) {
    if (counts.has(load.name) || !fits(load, size)) continue;
    weigh(load);
    seen += 1;
    if (seen === CANDIDATES) break;
  }
  return best;
}

interface Load {
  name: string;
  cpuRoom: number;
  memoryRoom: number;
  cpu: number;
  memory: number;
  /** The scarcer of CPU and memory, as a share of what may be allotted. */
  share: number;
}

function fits({ cpu, memory, cpuRoom, memoryRoom }: Load, size: Size): boolean {
  return cpu + size.cpu <= cpuRoom && memory + size.memory <= memoryRoom;
}

function shareWith({ cpu, memory, cpuRoom, memoryRoom }: Load, size: Size): number {
  return Math.max((cpu + size.cpu) / Math.max(1e-3, cpuRoom), (memory + size.memory) / Math.max(1, memoryRoom));
}

const NOTHING: Size = { cpu: 0, memory: 0 };

/** The hosts with what is allotted on each, kept in the order of their load. */
class HostLoads {
  readonly #byName = new Map<string, Load>();
  readonly #ordered: Load[];

  constructor(hosts: readonly PlaceHost[]) {
    for (const { name, cores, memoryBytes, running } of hosts) {
      const rooms = { cpuRoom: cores * CPU_OVERCOMMIT, memoryRoom: memoryBytes * MEMORY_OVERCOMMIT };
      const load: Load = { name, ...rooms, cpu: 0, memory: 0, share: 0 };
      for (const { size } of running) {
        load.cpu += size.cpu;
        load.memory += size.memory;
      }
      load.share = shareWith(load, NOTHING);
      this.#byName.set(name, load);
    }
    this.#ordered = [...this.#byName.values()].sort(byShare);
  }

  get(name: string): Load | undefined {
    return this.#byName.get(name);
  }

  /** The least loaded first. */
  ascending(): readonly Load[] {
    return this.#ordered;
  }

  add(load: Load, size: Size): void {
    this.#ordered.splice(this.#positionOf(load), 1);
    load.cpu += size.cpu;
    load.memory += size.memory;
    load.share = shareWith(load, NOTHING);
    this.#ordered.splice(this.#positionOf(load), 0, load);
  }

  /** Where the host is in the order, or belongs. */
  #positionOf(load: Load): number {
    let low = 0;
    let high = this.#ordered.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (byShare(this.#ordered[middle] as Load, load) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function byShare(a: Load, b: Load): number {
  return a.share - b.share || byNumberedName(a.name, b.name);
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
