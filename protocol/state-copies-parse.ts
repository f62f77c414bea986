import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';
import type { CopyMessage, CopyRecord, Joining, LogRecord } from './state-copies.js';

/** A copy of a shard, as it is named between hosts and to the coordinator: `<app>/<component>/<shard>`. */
const COPY_NAME = /^[a-z][a-z0-9-]{0,39}\/[a-z][a-z0-9-]{0,39}\/(0|[1-9][0-9]{0,3})$/;
const HOST_LENGTH_MAX = 253;
const HOSTS_MAX = 64;
const RECORDS_MAX = 1_024;

export function copyName(key: string, shard: number): string {
  return `${key}/${shard}`;
}

export function isCopyName(value: unknown): value is string {
  return typeof value === 'string' && COPY_NAME.test(value) && shardOfName(value) < LIMITS.shardCountMax;
}

/** Of a name: `<app>/<component>`. */
export function keyOfName(name: string): string {
  return name.slice(0, name.lastIndexOf('/'));
}

export function shardOfName(name: string): number {
  return Number(name.slice(name.lastIndexOf('/') + 1));
}

/** Hosts that a record names. */
export function hostsOf({ owner, passTo, inSync, joining }: CopyRecord): Set<string> {
  const hosts = new Set([...inSync, ...joining.map(({ host }) => host)]);
  for (const seat of [owner, passTo]) if (seat) hosts.add(seat.host);
  return hosts;
}

/** Throws SHOAL_E_FRAME when it is none. Of writes and entries the store that takes them in looks at the bytes. */
export function parseCopyMessage(value: unknown): CopyMessage {
  const fail = () => new ShoalError('SHOAL_E_FRAME', 'a message about a copy of a state shard has a wrong shape');
  if (!isMap(value) || !isCount(value.epoch)) throw fail();
  const { type, epoch, after, records, askedAtMs, last, index, begun, attempt, part, entries, done, requires } = value;
  const { atMs, saidAtMs } = value;
  switch (type) {
    case 'append':
      if (isCount(after) && areRecords(records) && isNumber(askedAtMs))
        return { type, epoch, after, records, askedAtMs };
      break;
    case 'held':
      if (!isCount(last) || !isNumber(askedAtMs)) break;
      return { type, epoch, last, askedAtMs, ...(isNumber(atMs) ? { atMs } : {}) };
    case 'no-copy':
      return { type, epoch };
    case 'fill': {
      const ordered = isCount(begun) && isCount(attempt) && isCount(part) && isCount(last) && typeof done === 'boolean';
      if (ordered && areRecords(records) && areEntries(entries)) {
        return { type, epoch, begun, attempt, part, records, entries, last, done };
      }
      break;
    }
    case 'filled':
      if (isCount(begun) && isCount(attempt) && isCount(part)) return { type, epoch, begun, attempt, part };
      break;
    case 'pass':
      if (!isCount(last) || !areJoining(requires)) break;
      return { type, epoch, last, requires, ...(isNumber(saidAtMs) ? { saidAtMs } : {}) };
    case 'ask':
      if (isNumber(askedAtMs)) return { type, epoch, askedAtMs };
      break;
    case 'known':
      if (isCount(index) && isNumber(askedAtMs)) return { type, epoch, index, askedAtMs };
      break;
  }
  throw fail();
}

/** Whether it has the shape of a record, as it comes from the coordinator. */
export function isCopyRecord(value: unknown): value is CopyRecord {
  if (!isMap(value)) return false;
  const { epoch, phase, owner, passTo, inSync, joining, create, restore, bornAfter } = value;
  const phases = ['serving', 'passing', 'fencing', 'lost'];
  const created =
    create === undefined || (isMap(create) && Object.values(create).every((each) => typeof each === 'string'));
  const restored = restore === undefined || (isMap(restore) && isCount(restore.epoch) && isCount(restore.last));
  const seats = (owner === null || isSeat(owner)) && (passTo === undefined || isSeat(passTo));
  return (
    isCount(epoch) &&
    phases.includes(phase as string) &&
    seats &&
    areHosts(inSync) &&
    areJoining(joining) &&
    created &&
    restored &&
    (bornAfter === undefined || isCount(bornAfter))
  );
}

function isSeat(value: unknown): boolean {
  return isMap(value) && isHost(value.host) && (value.instance === null || typeof value.instance === 'string');
}

function areRecords(value: unknown): value is LogRecord[] {
  if (!Array.isArray(value) || value.length > RECORDS_MAX) return false;
  return value.every((each) => isMap(each) && isCount(each.index) && areEntries(each.changes));
}

function areEntries(value: unknown): value is [string, unknown][] {
  if (!Array.isArray(value) || value.length > RECORDS_MAX) return false;
  return value.every((each) => Array.isArray(each) && each.length === 2 && typeof each[0] === 'string');
}

function areJoining(value: unknown): value is Joining[] {
  if (!Array.isArray(value) || value.length > HOSTS_MAX) return false;
  return value.every((each) => isMap(each) && isHost(each.host) && isCount(each.since));
}

function areHosts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= HOSTS_MAX && value.every(isHost);
}

function isHost(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= HOST_LENGTH_MAX;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
