/**
 * What coordinator and hosts say to each other about the copies of a state shard. docs/state-protocol.md explains it; who
 * sends a message to which shard is in the envelope.
 */

/** Where an owner is. Without an instance the host has the shard and serves nobody. */
export interface Seat {
  host: string;
  instance: string | null;
}

/** A host that is being filled, and the epoch of the record that named it first. */
export interface Joining {
  host: string;
  since: number;
}

/** What the coordinator decided about a shard; in the store before any host hears of it. */
export interface CopyRecord {
  /** Rises with every change; that after a pass is higher by two, since the pass itself takes one. */
  epoch: number;
  phase: 'serving' | 'passing' | 'fencing' | 'lost';
  owner: Seat | null;
  /** While passing: who owns the shard from epoch + 1 on. */
  passTo?: Seat;
  /** Hosts that hold every acknowledged write, the owner's among them. */
  inSync: string[];
  joining: Joining[];
  /** Hosts that begin with an empty copy, by the boot in which they may: memory of an earlier one is gone. */
  create?: Record<string, string>;
  /** The owner begins with this snapshot on its disk, and not empty. */
  restore?: SnapshotMark;
  /** Copies and snapshots of this epoch and before are of an earlier life of the component, and nothing of this one. Absent: 0. */
  bornAfter?: number;
}

/** Of a snapshot: the epoch of the copy, and the index of its last write. */
export interface SnapshotMark {
  epoch: number;
  last: number;
}

/** One write: what became of keys. An absent value: the key is gone. */
export interface LogRecord {
  index: number;
  changes: Change[];
}
export type Change = [key: string, value?: unknown];

/** Between two hosts, about one shard. `epoch`: of the sender. */
export type CopyMessage =
  /** Writes after an index, or none, as a question whether the copy is there. `askedAtMs`: by the owner's clock. */
  | { type: 'append'; epoch: number; after: number; records: LogRecord[]; askedAtMs: number }
  /** The copy goes up to `last`, and will follow nobody else for the time of a lease. `atMs`: by the clock of its host. */
  | { type: 'held'; epoch: number; last: number; askedAtMs: number; atMs?: number }
  /** There is no whole copy here. */
  | { type: 'no-copy'; epoch: number }
  /**
   * The next part of a fill: first the writes up to `last`, then entries. Part 0 of a later one begins anew. Fills are
   * ordered by the epoch in which the owner began them, then by its count of attempts.
   */
  | {
      type: 'fill';
      epoch: number;
      begun: number;
      attempt: number;
      part: number;
      records: LogRecord[];
      entries: [string, unknown][];
      last: number;
      done: boolean;
    }
  | { type: 'filled'; epoch: number; begun: number; attempt: number; part: number }
  /**
   * The receiver owns the shard in this epoch, and requires these. The sender, who holds all up to `last`, follows nobody else for
   * the time of a lease, which began after the receiver last said what it holds: `saidAtMs`, by the receiver's clock.
   */
  | { type: 'pass'; epoch: number; last: number; requires: Joining[]; saidAtMs?: number }
  /** Of a copy that is read: how far does the log go now? `askedAtMs`: by its own clock. */
  | { type: 'ask'; epoch: number; askedAtMs: number }
  /** All writes that were acknowledged when it asked are among those up to `index`, and these are not taken back. */
  | { type: 'known'; epoch: number; index: number; askedAtMs: number };

/** Up to where a copy may be read: no write acknowledged before `atMs`, by the clock of its host, is beyond `index`. */
export interface Known {
  index: number;
  atMs: number;
}

/** What a host says of its copy; said again and again. */
export interface CopyReport {
  epoch: number;
  role: CopyRole;
  last: number;
  /** By the owner: those that were filled and are required from now on. */
  synced: Joining[];
  /** By the owner: required ones that do not answer, or that have no whole copy. */
  failing: string[];
  /** By a host without a copy: the newest snapshot on its disk. */
  snapshot?: SnapshotMark;
}

/** `none`: no copy; `filling`: a part of one. */
export type CopyRole = 'none' | 'filling' | 'replica' | 'owner';
