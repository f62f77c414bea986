import type { Size } from '../../protocol/link.js';
import { CPU_OVERCOMMIT } from './allotted.js';
import { byNumberedName } from './shards.js';

/**
 * Who gives way to whom when no host has room. First lower priorities are resized in place towards their smallest CPU,
 * which takes milliseconds and can be undone; then instances end, the lowest priority first. An instance gives way to
 * one of a higher priority, but those that make up its component's minimum only to what another one needs for its
 * minimum; of the same priority only what is above the minimum gives way, and only to such a need. As no two components
 * may each displace the other for the same need, this comes to rest. Pure, and independent of the order of its input.
 */
export interface RoomInstance {
  id: string;
  /** Of its component. */
  key: string;
  size: Size;
  priority: number;
  /** Cores that it can be brought down to. */
  cpuMin: number;
  /** It ends already. */
  draining: boolean;
}

export interface RoomHost {
  name: string;
  cores: number;
  memoryBytes: number;
  running: readonly RoomInstance[];
}

/** One instance that found no host. */
export interface RoomClaim {
  key: string;
  size: Size;
  priority: number;
  /** Its component has fewer instances than its minimum. */
  needed: boolean;
  /** Hosts on which it may run, room aside. */
  isAllowed(host: string): boolean;
}

export type Room =
  /** Once these are of these sizes, there is room on the host. */
  | { kind: 'shrink'; claim: RoomClaim; host: string; cpu: ReadonlyMap<string, number> }
  /** Once these have ended. */
  | { kind: 'end'; claim: RoomClaim; host: string; ids: readonly string[] };

/** More in one turn would end a great many at once for a need that the next turn may see in another light. */
export const CLAIMS_MAX = 8;

/** `surplus`: for each component how many instances it has above its minimum. */
export function makeRoom(
  claims: readonly RoomClaim[],
  hosts: readonly RoomHost[],
  surplus: ReadonlyMap<string, number>,
): Room[] {
  const rooms: Room[] = [];
  // A host that makes room for one claim is looked at again in the next turn.
  const taken = new Set<string>();
  const left = new Map(surplus);
  const ordered = hosts.toSorted((a, b) => byNumberedName(a.name, b.name));
  for (const claim of claims.toSorted(firstToClaim).slice(0, CLAIMS_MAX)) {
    const allowed = ordered.filter(({ name }) => !taken.has(name) && claim.isAllowed(name));
    // What ends already makes the room: then it only has to be waited for.
    if (allowed.some((host) => fits(host, claim.size, (each) => each.draining))) continue;
    const room = shrinkFor(claim, allowed) ?? endFor(claim, allowed, left);
    if (room === null) continue;
    rooms.push(room);
    taken.add(room.host);
    if (room.kind === 'shrink') continue;
    const ending = new Set(room.ids);
    for (const host of allowed) {
      for (const { id, key } of host.running) if (ending.has(id)) left.set(key, (left.get(key) ?? 0) - 1);
    }
  }
  return rooms;
}

function firstToClaim(a: RoomClaim, b: RoomClaim): number {
  return b.priority - a.priority || Number(b.needed) - Number(a.needed) || (a.key < b.key ? -1 : 1);
}

interface Missing {
  cpu: number;
  memory: number;
}

function missingOn({ cores, memoryBytes, running }: RoomHost, size: Size): Missing {
  const missing = { cpu: size.cpu - cores * CPU_OVERCOMMIT, memory: size.memory - memoryBytes };
  for (const each of running) {
    missing.cpu += each.size.cpu;
    missing.memory += each.size.memory;
  }
  return missing;
}

function fits(host: RoomHost, size: Size, without: (instance: RoomInstance) => boolean): boolean {
  const { cpu, memory } = missingOn({ ...host, running: host.running.filter((each) => !without(each)) }, size);
  return cpu <= 0 && memory <= 0;
}

/** On the host where it takes the least CPU from others. */
function shrinkFor(claim: RoomClaim, hosts: readonly RoomHost[]): Room | null {
  let best: { host: RoomHost; missing: number; lower: RoomInstance[] } | null = null;
  for (const host of hosts) {
    const { cpu: missing, memory } = missingOn(host, claim.size);
    if (memory > 0 || (best !== null && missing >= best.missing)) continue;
    const lower = host.running.filter((each) => each.priority < claim.priority && !each.draining);
    const most = lower.reduce((sum, { size, cpuMin }) => sum + Math.max(0, size.cpu - cpuMin), 0);
    if (most >= missing) best = { host, missing, lower };
  }
  if (best === null) return null;
  const cpu = new Map<string, number>();
  let { missing } = best;
  for (const { id, size, cpuMin } of best.lower.toSorted(lowestFirst)) {
    if (missing <= 0) break;
    const given = Math.min(missing, Math.max(0, size.cpu - cpuMin));
    if (given === 0) continue;
    cpu.set(id, size.cpu - given);
    missing -= given;
  }
  return { kind: 'shrink', claim, host: best.host.name, cpu };
}

/** On the host where the lowest priorities, and of those the fewest, have to end. */
function endFor(claim: RoomClaim, hosts: readonly RoomHost[], surplus: ReadonlyMap<string, number>): Room | null {
  let best: { host: string; ids: string[]; highest: number } | null = null;
  for (const host of hosts) {
    const missing = missingOn(host, claim.size);
    const left = new Map(surplus);
    const ids: string[] = [];
    let highest = -1;
    for (const instance of host.running.toSorted(lowestFirst)) {
      if (missing.cpu <= 0 && missing.memory <= 0) break;
      if (instance.draining || instance.key === claim.key || !givesWay(instance, claim, left)) continue;
      left.set(instance.key, (left.get(instance.key) ?? 0) - 1);
      missing.cpu -= instance.size.cpu;
      missing.memory -= instance.size.memory;
      ids.push(instance.id);
      highest = Math.max(highest, instance.priority);
    }
    if (missing.cpu > 0 || missing.memory > 0) continue;
    const better =
      best === null || highest < best.highest || (highest === best.highest && ids.length < best.ids.length);
    if (better) best = { host: host.name, ids, highest };
  }
  return best === null ? null : { kind: 'end', claim, host: best.host, ids: best.ids };
}

function givesWay(instance: RoomInstance, claim: RoomClaim, surplus: ReadonlyMap<string, number>): boolean {
  const spare = (surplus.get(instance.key) ?? 0) > 0;
  if (instance.priority < claim.priority) return spare || claim.needed;
  return instance.priority === claim.priority && spare && claim.needed;
}

/** Of the same priority the newest first. */
function lowestFirst(a: RoomInstance, b: RoomInstance): number {
  return a.priority - b.priority || byNumberedName(b.id, a.id);
}
