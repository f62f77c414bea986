import type { Size } from '../../protocol/link.js';
import type { PlaceRules } from '../../protocol/manifest.js';
import {
  allottedBy,
  allottedOwnCores,
  allottedSize,
  CPU_OVERCOMMIT,
  ownCoresOf,
  type Sized,
  takes,
} from './allotted.js';
import { byNumberedName } from './shards.js';

/**
 * Where new instances go. Instances that run stay where they are; of the new ones those of the higher priority choose
 * first, then those that a minimum asks for, then the larger, and each takes the host of the lowest cost. Pure, and independent of the order in which hosts
 * and groups are given. docs/brain.md says what the cost is made of.
 */
export interface PlaceHost {
  name: string;
  cores: number;
  memoryBytes: number;
  labels?: Readonly<Record<string, string>>;
  taints?: readonly string[];
  /** Cores that it can give to single instances; absent: none. */
  ownCores?: number;
  /** It comes and goes: only for groups that may have such hosts. */
  unsteady?: boolean;
  /** Instances that run on it or are to. */
  running: readonly Sized[];
}

/** New instances of one component, all of the same size. */
export interface PlaceGroup {
  /** The component's key. */
  key: string;
  ids: readonly string[];
  size: Size;
  /** Absent: false. */
  exclusive?: boolean;
  /** 0 … 1000. */
  priority: number;
  /** Without these the component has fewer than its minimum. */
  needed: boolean;
  /** Absent: anywhere. */
  rules?: Readonly<Pick<PlaceRules, 'spread' | 'require' | 'tolerate'>>;
  /** Keys of components that it had best be near, each with its share of what they say to each other, 0 … 1. */
  near: ReadonlyMap<string, number>;
  /** Keys of components that never share a host with it. */
  apart: readonly string[];
  /** Hosts that come and go may have them too, since no other may. Absent: false. */
  unsteady?: boolean;
}

export interface PlaceRequest {
  groups: readonly PlaceGroup[];
  hosts: readonly PlaceHost[];
  /** Hosts of the instances that a component has, one entry for each. */
  hostsOf(key: string): readonly string[];
}

export interface Placement {
  /** Instance id → host name. */
  hosts: ReadonlyMap<string, string>;
  /** Component key → why the rest of its ids fit nowhere. */
  unplaced: ReadonlyMap<string, string>;
}

const MEMORY_OVERCOMMIT = 1;

/**
 * The cost of a host for an instance, in the unit of a whole host's load.
 * `zone`, `same`: for each instance of the component in the zone, if it is spread over zones, and on the host. One more
 * costs more than any difference of load, so that a component is spread first.
 * `load`: how full the host gets, by the scarcer of CPU and memory. As the cluster fills, the sign turns: then the fuller
 * host is better, so that the large instances that come later still find room in one piece.
 * `stranded`: difference of the shares of CPU and memory; what is left of one without the other is of no use.
 * `near`: for all that the component says to others that have no instance on the host.
 */
export const COST = { zone: 8, same: 2, load: 1, stranded: 0.5, near: 1.5 } as const;
/** Mean load of the hosts from which, and at which wholly, they are filled up instead of being kept even. */
const PACK = { from: 0.5, wholly: 0.9 };

/** Of the hosts of a zone that have nothing to do with the component, so many are weighed, best by load first. */
const CANDIDATES = 16;
const ANYWHERE: NonNullable<PlaceGroup['rules']> = { spread: 'host', require: {}, tolerate: [] };
const NO_ROOM = 'no host has room';
const NO_OWN_CORES =
  'no host can give cores to one instance alone: that takes the cgroup v2 cpuset controller and two cores; `shoal doctor` says what a host lacks';

export function place({ groups, hosts, hostsOf }: PlaceRequest): Placement {
  const chosen = new Map<string, string>();
  const unplaced = new Map<string, string>();
  if (groups.length === 0) return { hosts: chosen, unplaced };
  const loads = new HostLoads(hosts);
  const whereabouts = new Whereabouts(hostsOf, loads);
  // Room only shrinks here, so that what is as large as something that found none anywhere need not look.
  const failed: Size[] = [];
  for (const group of groups.toSorted(firstToChoose)) {
    for (const id of group.ids.toSorted(byNumberedName)) {
      const { cpu, memory } = takes(group);
      const hopeless = failed.some((size) => size.cpu <= cpu && size.memory <= memory);
      const best = hopeless ? undefined : cheapest(loads, group, whereabouts);
      if (best === undefined) {
        const allowed = hopeless || loads.all().some((load) => isAllowed(load, group, whereabouts));
        unplaced.set(group.key, allowed ? noRoomFor(group, loads) : whyNowhere(group, hosts.length));
        // One that found no cores of its own says nothing of others.
        const isFull = !hopeless && group.exclusive !== true && !loads.all().some((load) => fits(load, group));
        if (isFull) failed.push(group.size);
        break;
      }
      loads.add(best, group);
      whereabouts.add(group.key, best);
      chosen.set(id, best.host.name);
    }
  }
  return { hosts: chosen, unplaced };
}

function firstToChoose(a: PlaceGroup, b: PlaceGroup): number {
  const larger = b.size.memory - a.size.memory || b.size.cpu - a.size.cpu;
  const byUrgency = b.priority - a.priority || Number(b.needed) - Number(a.needed);
  return byUrgency || larger || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

function noRoomFor({ exclusive, size }: PlaceGroup, loads: HostLoads): string {
  if (exclusive !== true) return NO_ROOM;
  const most = Math.max(0, ...loads.all().map(({ host }) => host.ownCores ?? 0));
  return most === 0 ? NO_OWN_CORES : `${NO_ROOM} for ${size.cpu} cores of its own`;
}

function whyNowhere({ rules, apart }: PlaceGroup, hosts: number): string {
  if (hosts === 0) return 'no host is connected';
  const labels = Object.entries(rules?.require ?? {}).map(([label, value]) => `${label}=${value}`);
  const needs = [
    ...(labels.length > 0 ? [`has ${labels.join(' and ')}`] : []),
    ...(apart.length > 0 ? [`is without ${apart.join(' and ')}`] : []),
    'has no taint that it does not tolerate',
  ];
  return `no host ${needs.join(' and ')}`;
}

function cheapest(loads: HostLoads, group: PlaceGroup, whereabouts: Whereabouts): Load | undefined {
  let best: Load | undefined;
  let lowest = Number.POSITIVE_INFINITY;
  const packing = loads.packing();
  const weigh = (load: Load) => {
    const cost = costOf(load, group, whereabouts, packing);
    if (cost > lowest) return;
    if (cost === lowest && best !== undefined && byNumberedName(load.host.name, best.host.name) > 0) return;
    best = load;
    lowest = cost;
  };
  const related = new Set<string>();
  for (const key of [group.key, ...group.near.keys()]) {
    for (const name of whereabouts.hosts(key).keys()) related.add(name);
  }
  const usable = (load: Load) => fits(load, group) && isAllowed(load, group, whereabouts);
  for (const name of related) {
    const load = loads.get(name);
    if (load !== undefined && usable(load)) weigh(load);
  }
  // The rest differ by their load alone.
  for (const ordered of loads.zones()) {
    let seen = 0;
    for (let i = 0; i < ordered.length && seen < CANDIDATES; i += 1) {
      const load = ordered[packing > 0.5 ? ordered.length - 1 - i : i] as Load;
      if (related.has(load.host.name) || !usable(load)) continue;
      weigh(load);
      seen += 1;
    }
  }
  return best;
}

function costOf(load: Load, group: PlaceGroup, whereabouts: Whereabouts, packing: number): number {
  const { near, rules = ANYWHERE } = group;
  const size = takes(group);
  const { name } = load.host;
  const cpu = (load.cpu + size.cpu) / Math.max(1e-3, load.cpuRoom);
  const memory = (load.memory + size.memory) / Math.max(1, load.memoryRoom);
  let apart = 0;
  for (const [key, share] of near) if (!whereabouts.hosts(key).has(name)) apart += share;
  const inZone = rules.spread === 'zone' ? whereabouts.inZone(group.key, load.zone) : 0;
  return (
    COST.zone * inZone +
    COST.same * (whereabouts.hosts(group.key).get(name) ?? 0) +
    COST.load * (1 - 2 * packing) * Math.max(cpu, memory) +
    COST.stranded * Math.abs(cpu - memory) +
    COST.near * apart
  );
}

function isAllowed({ host }: Load, group: PlaceGroup, whereabouts: Whereabouts): boolean {
  const { rules, apart } = group;
  return (
    isSteadyEnough(host, group) && admits(host, rules) && apart.every((key) => !whereabouts.hosts(key).has(host.name))
  );
}

interface Load {
  host: PlaceHost;
  zone: string;
  cpuRoom: number;
  memoryRoom: number;
  cpu: number;
  memory: number;
  /** Cores that single instances have for themselves. */
  own: number;
  /** The scarcer of CPU and memory, as a share of what may be allotted. */
  share: number;
}

export function isSteadyEnough({ unsteady = false }: PlaceHost, group: Pick<PlaceGroup, 'unsteady'>): boolean {
  return !unsteady || group.unsteady === true;
}

/** Whether the rules of a component let its instances run on the host, room and neighbours aside. */
export function admits(host: Pick<PlaceHost, 'labels' | 'taints'>, rules: PlaceGroup['rules'] = ANYWHERE): boolean {
  const { labels = {}, taints = [] } = host;
  for (const [label, value] of Object.entries(rules.require)) {
    if (!Object.hasOwn(labels, label) || labels[label] !== value) return false;
  }
  return taints.every((taint) => rules.tolerate.includes(taint));
}

function fits({ host, cpu, memory, own, cpuRoom, memoryRoom }: Load, one: Sized): boolean {
  const size = takes(one);
  if (one.exclusive === true && own + ownCoresOf(one) > (host.ownCores ?? 0)) return false;
  return cpu + size.cpu <= cpuRoom && memory + size.memory <= memoryRoom;
}

function count(load: Load, one: Sized): void {
  const size = takes(one);
  load.cpu += size.cpu;
  load.memory += size.memory;
  load.own += ownCoresOf(one);
}

function shareOf({ cpu, memory, cpuRoom, memoryRoom }: Load): number {
  return Math.max(cpu / Math.max(1e-3, cpuRoom), memory / Math.max(1, memoryRoom));
}

/** The hosts with what is allotted on each, those of each zone in the order of their load. */
class HostLoads {
  readonly #byName = new Map<string, Load>();
  readonly #zones = new Map<string, Load[]>();
  #shareSum = 0;

  constructor(hosts: readonly PlaceHost[]) {
    for (const host of hosts) {
      const rooms = { cpuRoom: host.cores * CPU_OVERCOMMIT, memoryRoom: host.memoryBytes * MEMORY_OVERCOMMIT };
      const allotted = allottedBy(host.running);
      const own = allottedOwnCores(allotted);
      const load: Load = { host, zone: host.labels?.zone ?? '', ...rooms, ...allottedSize(allotted), own, share: 0 };
      load.share = shareOf(load);
      this.#byName.set(host.name, load);
    }
    // Summed in one order, so that rounding does not depend on the order in which the hosts were given.
    for (const load of [...this.#byName.values()].sort(byShare)) {
      this.#shareSum += load.share;
      const zone = this.#zones.get(load.zone);
      if (zone === undefined) this.#zones.set(load.zone, [load]);
      else zone.push(load);
    }
  }

  get(name: string): Load | undefined {
    return this.#byName.get(name);
  }

  all(): Load[] {
    return [...this.#byName.values()];
  }

  /** The least loaded of each first. */
  zones(): Iterable<readonly Load[]> {
    return this.#zones.values();
  }

  /** 0: hosts are kept even; 1: they are filled up. */
  packing(): number {
    const mean = this.#shareSum / Math.max(1, this.#byName.size);
    return Math.min(1, Math.max(0, (mean - PACK.from) / (PACK.wholly - PACK.from)));
  }

  add(load: Load, one: Sized): void {
    const zone = this.#zones.get(load.zone) ?? [];
    zone.splice(positionOf(zone, load), 1);
    this.#shareSum -= load.share;
    count(load, one);
    load.share = shareOf(load);
    this.#shareSum += load.share;
    zone.splice(positionOf(zone, load), 0, load);
  }
}

/** Where the host is in the order, or belongs. */
function positionOf(ordered: readonly Load[], load: Load): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byShare(ordered[middle] as Load, load) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function byShare(a: Load, b: Load): number {
  return a.share - b.share || byNumberedName(a.host.name, b.host.name);
}

/** How many instances of a component are where; looked up for the components that matter, then kept up to date. */
class Whereabouts {
  readonly #hostsOf: PlaceRequest['hostsOf'];
  readonly #loads: HostLoads;
  readonly #known = new Map<string, { hosts: Map<string, number>; zones: Map<string, number> }>();

  constructor(hostsOf: PlaceRequest['hostsOf'], loads: HostLoads) {
    this.#hostsOf = hostsOf;
    this.#loads = loads;
  }

  hosts(key: string): ReadonlyMap<string, number> {
    return this.#of(key).hosts;
  }

  inZone(key: string, zone: string): number {
    return this.#of(key).zones.get(zone) ?? 0;
  }

  add(key: string, { host, zone }: Load): void {
    const { hosts, zones } = this.#of(key);
    increase(hosts, host.name);
    increase(zones, zone);
  }

  #of(key: string): { hosts: Map<string, number>; zones: Map<string, number> } {
    const present = this.#known.get(key);
    if (present !== undefined) return present;
    const counted = { hosts: new Map<string, number>(), zones: new Map<string, number>() };
    for (const name of this.#hostsOf(key)) {
      increase(counted.hosts, name);
      const load = this.#loads.get(name);
      if (load !== undefined) increase(counted.zones, load.zone);
    }
    this.#known.set(key, counted);
    return counted;
  }
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
