import { createHash } from 'node:crypto';
import type { Size } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';
import { readJson, writeWhole } from './atomic-file.js';

/** What the agent must know of an instance to adopt it after a restart of its own; record.json of its folder. */
export interface InstanceRecord {
  format: 1;
  id: string;
  /** Name of its folder, cgroup and container, where that is not its id: it was warm before it became an instance. */
  body?: string;
  /** Not yet an instance: its process waits to be told which one it is. */
  warm?: boolean;
  app: string;
  component: string;
  /** The manifest's entry that it was made from. */
  made: Component;
  /** Which range of host ids its users have. */
  slot: number;
  size: Size;
  restarts: number;
  /** Whether the process that runs now has been ready. */
  ready: boolean;
  startMs: number | null;
}

export function bodyOf({ id, body = id }: InstanceRecord): string {
  return body;
}

export const IDS_PER_INSTANCE = 65_536;
export const SLOTS_MAX = 8_192;
const IDS_FIRST = 200_000;
/** So that two agents of one host, told apart by their state folders, seldom share ids; as many as 32 bits have. */
const AGENT_RANGES = 7;

/** Host uids and gids of the slot: user namespaces of two instances share none. */
export function idsOfSlot(runFolder: string, slot: number): { base: number; count: number } {
  const range = createHash('sha256').update(runFolder).digest().readUInt32LE(0) % AGENT_RANGES;
  return { base: IDS_FIRST + (range * SLOTS_MAX + slot) * IDS_PER_INSTANCE, count: IDS_PER_INSTANCE };
}

/** The lowest slot that is not taken; null when all are. */
export function freeSlot(taken: ReadonlySet<number>): number | null {
  for (let slot = 0; slot < SLOTS_MAX; slot += 1) if (!taken.has(slot)) return slot;
  return null;
}

export function writeRecord(path: string, record: InstanceRecord): Promise<void> {
  return writeWhole(path, JSON.stringify(record));
}

/** Null when there is no record or one of another format: the instance can then only be reaped. */
export async function readRecord(path: string): Promise<InstanceRecord | null> {
  const value = (await readJson(path)) as Partial<InstanceRecord> | null;
  if (value === null || value.format !== 1 || typeof value.id !== 'string' || value.made === undefined) return null;
  return value as InstanceRecord;
}
