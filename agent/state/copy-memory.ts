import type { Change, CopyRole, Joining, LogRecord } from '../../protocol/state-copies.js';

/** The entries and the latest writes of a copy: memory of the host that outlives the agent. */
export interface CopyStore {
  /** Index of the last write; 0 when there was none. */
  readonly last: number;
  /** The next write. */
  apply(record: LogRecord): void;
  /** Writes after this index, at most so many; null when the first of them is no longer kept. */
  recordsAfter(index: number, countMax: number): LogRecord[] | null;
  /** Entries as they are now, from a cursor on; `next` is null after the last ones. Keys that stay are met exactly once. */
  entriesFrom(cursor: unknown, bytesMax: number): { entries: [string, unknown][]; next: unknown };
  /** Of a fill. */
  put(entries: readonly [string, unknown][]): void;
  /** Empties it. `last`: the index from which on writes are to come. */
  begin(last: number): void;
}

/** What a host knows of its copy whatever becomes of its agent. Fields are written in the order that the protocol needs. */
export interface CopyNote {
  epoch: number;
  role: CopyRole;
  /** Of an owner: whose word it needs. `since` is 0 for those that the record has in sync. */
  requires: Joining[];
  /** Of an owner: no promise to a former one binds it any more. */
  unbound: boolean;
  /** Fills begun here, of whichever host. */
  attempts: number;
  /** The last fill that came here, and its next part. */
  fill: { begun: number; attempt: number; part: number } | null;
  /** To whom the shard was passed, in this epoch. */
  passed: { to: string; last: number; requires: Joining[]; saidAtMs?: number } | null;
}

export interface CopyMemory {
  note: CopyNote;
  store: CopyStore;
}

export function emptyNote(): CopyNote {
  return { epoch: 0, role: 'none', requires: [], unbound: false, attempts: 0, fill: null, passed: null };
}

/** A store in plain JavaScript, with the last `keptMax` writes. */
export class MapStore implements CopyStore {
  readonly #entries = new Map<string, unknown>();
  readonly #kept: LogRecord[] = [];
  readonly #keptMax: number;
  #last = 0;

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  get last(): number {
    return this.#last;
  }

  get(key: string): unknown {
    return this.#entries.get(key);
  }

  apply(record: LogRecord): void {
    for (const change of record.changes) this.#change(change);
    this.#last = record.index;
    this.#kept.push(record);
    if (this.#kept.length > this.#keptMax) this.#kept.shift();
  }

  recordsAfter(index: number, countMax: number): LogRecord[] | null {
    const first = this.#last - this.#kept.length;
    return index < first ? null : this.#kept.slice(index - first, index - first + countMax);
  }

  /** By the key's place in the order of keys; a value counts as 64 bytes. */
  entriesFrom(cursor: unknown, bytesMax: number): { entries: [string, unknown][]; next: unknown } {
    const after = typeof cursor === 'string' ? cursor : '';
    const keys = [...this.#entries.keys()].filter((key) => key > after).sort();
    const entries = keys.slice(0, Math.max(1, Math.floor(bytesMax / 64))).map((key): [string, unknown] => {
      return [key, this.#entries.get(key)];
    });
    return { entries, next: entries.length < keys.length ? entries.at(-1)?.[0] : null };
  }

  put(entries: readonly [string, unknown][]): void {
    for (const [key, value] of entries) this.#entries.set(key, value);
  }

  begin(last: number): void {
    this.#entries.clear();
    this.#kept.length = 0;
    this.#last = last;
  }

  #change([key, value]: Change): void {
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, value);
  }
}
