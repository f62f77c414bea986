import type { CopyRecord, CopyReport, Joining, Seat } from '../../protocol/state-copies.js';

/** What shall become of a shard. */
export interface WantedShard {
  owner: Seat;
  /** Hosts beside the owner's, the most wanted first: as many as are there of R. */
  replicas: readonly string[];
  /** R + 1: an unwanted copy stays while without it there would be fewer, wherever it is. Absent: 0. */
  copiesMin?: number;
  /** Whether the host may be filled now, and may become the owner's; nobody is filled before. */
  mayGoTo(host: string): boolean;
  /** What is left of a shard that was lost is looked for in snapshots. Absent: false. */
  restores?: boolean;
  /** Epochs of earlier lives of the component, under the same name, go up to this. Absent: 0. */
  epochsBefore?: number;
}

/** What is known of hosts. */
export interface SeenHosts {
  /** Its agent speaks with the coordinator, or has done so lately. */
  isThere(host: string): boolean;
  /** Its agent speaks with the coordinator now, and has said what it has. */
  speaks(host: string): boolean;
  /** The operator, or the loss of the host, says that its memory will not come back. */
  isGone(host: string): boolean;
  /** The operator has drained it: nobody waits for what may be on its disk. */
  isGivenUp(host: string): boolean;
  /** Of its present boot; null while unknown. */
  bootOf(host: string): string | null;
  /** All hosts that have said something of the shard. */
  reporting?(): readonly string[];
  /** The last one. */
  reportOf(host: string): CopyReport | null;
  /** An instance of the component that runs there. */
  instanceOn(host: string): string | null;
}

export interface RecordTiming {
  /** Hosts in sync have so long to say how far their copies go when the owner is lost. */
  fenceMsMax: number;
  /** A pass that has not ended after so long is fenced. */
  passMsMax: number;
  /**
   * When no copy is left, hosts that had one and are gone are waited for so long: they may come back with snapshots of it. After a power
   * cut not all of a rack start at once.
   */
  returnMsMax: number;
}

export const RECORD_TIMING: RecordTiming = { fenceMsMax: 1_000, passMsMax: 8_000, returnMsMax: 600_000 };

/**
 * The next record of a shard, or the same one when there is nothing to do: one step, to be stored before it is sent. Called
 * again whenever something has changed, it comes to what is wanted. Every step can be the last one that this coordinator makes:
 * the next one goes on from the record alone. `sinceMs`: since when the record is in force, by this coordinator's clock.
 */
export function nextRecord(
  record: CopyRecord | null,
  wanted: WantedShard,
  seen: SeenHosts,
  timing: RecordTiming,
  sinceMs: number,
): CopyRecord | null {
  const next = stepped(record, wanted, seen, timing, sinceMs);
  const { bornAfter = 0 } = record ?? { bornAfter: wanted.epochsBefore };
  return next === null || next === record || bornAfter === 0 ? next : { ...next, bornAfter };
}

function stepped(
  record: CopyRecord | null,
  wanted: WantedShard,
  seen: SeenHosts,
  timing: RecordTiming,
  sinceMs: number,
): CopyRecord | null {
  if (record?.phase === 'lost' && wanted.restores === true) {
    const found = restored(record, wanted, seen);
    if (found !== null) return found;
  }
  if (record === null || record.phase === 'lost') {
    const { epoch } = record ?? { epoch: wanted.epochsBefore ?? 0 };
    return created(epoch + 1, wanted, seen) ?? record;
  }
  if (record.phase === 'fencing') return chosen(record, wanted, seen, timing, sinceMs);
  const owner = record.owner?.host ?? null;
  if (record.phase === 'passing') {
    const taken = settledPass(record, seen);
    if (taken !== null) return taken;
    const lives = owner !== null && seen.isThere(owner) && seen.isThere(record.passTo?.host ?? '');
    return lives && sinceMs < timing.passMsMax ? record : fenced(record);
  }
  if (owner === null || !seen.isThere(owner) || hasLost(record, owner, seen)) return fenced(record);
  if (isRestoring(record, seen)) return record;
  return mended(record, owner, wanted, seen) ?? moved(record, owner, wanted, seen) ?? record;
}

/** All copies begin empty, and at once. */
function created(epoch: number, { owner, replicas }: WantedShard, seen: SeenHosts): CopyRecord | null {
  const hosts = [owner.host, ...replicas].filter((host) => seen.isThere(host) && seen.bootOf(host) !== null);
  if (!hosts.includes(owner.host)) return null;
  const create = Object.fromEntries(hosts.map((host) => [host, seen.bootOf(host) ?? '']));
  return { epoch, phase: 'serving', owner, inSync: hosts.sort(), joining: [], create };
}

/** By the newest snapshot that a host has said it has; others are filled from there. */
function restored({ epoch, bornAfter = 0 }: CopyRecord, wanted: WantedShard, seen: SeenHosts): CopyRecord | null {
  const found = (seen.reporting?.() ?? []).flatMap((host) => {
    const snapshot = seen.reportOf(host)?.snapshot;
    const boot = seen.isThere(host) ? seen.bootOf(host) : null;
    // Others are of another life of the component.
    const isOfThis = snapshot !== undefined && snapshot.epoch > bornAfter && snapshot.epoch <= epoch;
    return isOfThis && boot !== null ? [{ host, boot, snapshot }] : [];
  });
  const [newest] = found.sort(({ snapshot: a }, { snapshot: b }) => b.epoch - a.epoch || b.last - a.last);
  if (newest === undefined) return null;
  const { host, boot, snapshot } = newest;
  const owner = seatOn(host, wanted, seen);
  const begun = { epoch: epoch + 1, phase: 'serving' as const, owner, inSync: [host], joining: [] };
  return { ...begun, create: { [host]: boot }, restore: snapshot };
}

/** Its owner has not said yet that it has begun with the snapshot, which is in no other record: this one stays. */
export function isRestoring({ restore, owner, epoch }: CopyRecord, seen: Pick<SeenHosts, 'reportOf'>): boolean {
  return restore !== undefined && owner !== null && reportIn(epoch, owner.host, seen) === null;
}

/** An owner's epoch is over when a pass had one, too. */
function epochAfter({ epoch, phase }: CopyRecord): number {
  return epoch + (phase === 'passing' ? 2 : 1);
}

function fenced(record: CopyRecord): CopyRecord {
  return { epoch: epochAfter(record), phase: 'fencing', owner: null, inSync: record.inSync, joining: [] };
}

/** The longest of the copies that have said how far they go. Whoever has not said it is to be filled anew. */
function chosen(
  record: CopyRecord,
  wanted: WantedShard,
  seen: SeenHosts,
  { fenceMsMax, returnMsMax }: RecordTiming,
  sinceMs: number,
): CopyRecord {
  const { inSync, epoch } = record;
  const answers = inSync.map((host) => ({ host, report: reportIn(epoch, host, seen) }));
  const whole = answers.flatMap(({ host, report }) => (isWhole(report) ? [{ host, last: report.last }] : []));
  const open = answers.filter(({ host, report }) => report === null && !seen.isGone(host) && seen.isThere(host));
  if (open.length > 0 && sinceMs < fenceMsMax) return record;
  const longest = Math.max(...whole.map(({ last }) => last));
  const best = whole.filter(({ last }) => last === longest).map(({ host }) => host);
  const host = best.find((each) => each === wanted.owner.host) ?? best.find((each) => seen.instanceOn(each)) ?? best[0];
  if (host !== undefined) {
    const owner = seatOn(host, wanted, seen);
    return { epoch: epoch + 1, phase: 'serving', owner, inSync: whole.map((each) => each.host), joining: [] };
  }
  const isAwaited = (each: string) => wanted.restores === true && sinceMs < returnMsMax && !seen.isGivenUp(each);
  const isLost = answers.every((each) => {
    return each.report === null ? seen.isGone(each.host) && !isAwaited(each.host) : !isWhole(each.report);
  });
  return isLost ? { epoch: epoch + 1, phase: 'lost', owner: null, inSync: [], joining: [] } : record;
}

function seatOn(host: string, { owner }: WantedShard, seen: SeenHosts): Seat {
  return { host, instance: owner.host === host ? owner.instance : seen.instanceOn(host) };
}

function settledPass(record: CopyRecord, seen: SeenHosts): CopyRecord | null {
  const { passTo, inSync, joining } = record;
  if (passTo === undefined) return null;
  const report = seen.reportOf(passTo.host);
  if (report?.role !== 'owner' || report.epoch !== record.epoch + 1) return null;
  return { epoch: epochAfter(record), phase: 'serving', owner: passTo, inSync, joining };
}

/** Copies that have failed leave, those that are filled come in, and the owner's instance is the one that is there. */
function mended(record: CopyRecord, owner: string, wanted: WantedShard, seen: SeenHosts): CopyRecord | null {
  const report = seen.reportOf(owner);
  const current = report !== null && report.epoch === record.epoch ? report : null;
  // Only an owner that speaks can say that a copy has failed: else it may be the owner that is gone for good, and a copy whose
  // host is away for a moment is all that is left.
  const failing = (host: string) => seen.speaks(owner) && current?.failing.includes(host) === true;
  const isOut = (host: string) => !seen.isThere(host) || failing(host);
  const synced = record.joining.filter((each) => current?.synced.some((one) => isSame(one, each)) === true);
  const inSync = record.inSync.filter((host) => host === owner || !failing(host));
  const incoming = synced.map(({ host }) => host).filter((host) => !isOut(host) && !inSync.includes(host));
  const joining = record.joining.filter((each) => !isOut(each.host) && !synced.some((one) => isSame(one, each)));
  const seat = seatOn(owner, wanted, seen);
  const sameSeat = seat.instance === record.owner?.instance || seat.instance === null;
  const same = inSync.length === record.inSync.length && incoming.length === 0;
  if (same && joining.length === record.joining.length && sameSeat) return null;
  const next = sameSeat ? record.owner : seat;
  return { epoch: record.epoch + 1, phase: 'serving', owner: next, inSync: [...inSync, ...incoming].sort(), joining };
}

/** Towards the wanted hosts: fill those that lack, pass the ownership on, let go of those that are too many. */
function moved(record: CopyRecord, owner: string, wanted: WantedShard, seen: SeenHosts): CopyRecord | null {
  const { inSync, joining } = record;
  const target = wanted.owner.host;
  const hosts = [target, ...wanted.replicas];
  const epoch = record.epoch + 1;
  const serving = { epoch, phase: 'serving' as const, owner: record.owner };
  const joins = hosts.filter((host) => !inSync.includes(host) && seen.isThere(host) && wanted.mayGoTo(host));
  const kept = joining.filter(({ host }) => joins.includes(host));
  const added = joins.filter((host) => !joining.some((each) => each.host === host));
  if (added.length > 0 || kept.length < joining.length) {
    return { ...serving, inSync, joining: [...kept, ...added.map((host) => ({ host, since: epoch }))] };
  }
  if (target !== owner && inSync.includes(target) && wanted.mayGoTo(target)) {
    return { epoch, phase: 'passing', owner: record.owner, passTo: wanted.owner, inSync, joining };
  }
  // A copy that nobody asked for is better than one too few: it stays until all that are wanted are in sync.
  // Nor is one needless whose host is not asked for since its agent is away for a moment.
  const spare = Math.max(0, inSync.length - (wanted.copiesMin ?? 0));
  const needless = inSync.filter((host) => !hosts.includes(host) && seen.speaks(host)).slice(0, spare);
  if (needless.length === 0 || hosts.some((host) => !inSync.includes(host)) || target !== owner) return null;
  return { ...serving, inSync: inSync.filter((host) => !needless.includes(host)), joining };
}

function reportIn(epoch: number, host: string, seen: Pick<SeenHosts, 'reportOf'>): CopyReport | null {
  const report = seen.reportOf(host);
  return report !== null && report.epoch === epoch ? report : null;
}

function isWhole(report: CopyReport | null): report is CopyReport {
  return report?.role === 'replica' || report?.role === 'owner';
}

/** The host knows the record, or one of the same epoch, and has no whole copy. */
function hasLost(record: CopyRecord, host: string, seen: SeenHosts): boolean {
  const report = reportIn(record.epoch, host, seen);
  return report !== null && !isWhole(report);
}

function isSame(a: Joining, b: Joining): boolean {
  return a.host === b.host && a.since === b.since;
}
