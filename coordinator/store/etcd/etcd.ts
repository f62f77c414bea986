/** What the store asks of etcd, in its own words, so that a simulated one can stand in. */
export interface Etcd {
  /** For messages to people: where it is. */
  readonly address: string;
  /** One transaction, which is also how keys are read: linearizable, all at one revision. */
  transact(transaction: Transaction, timeoutMs: number): Promise<Outcome>;
  /** A new lease; resolves with its id. Etcd may give more seconds than asked for, never fewer. */
  grantLease(seconds: number, timeoutMs: number): Promise<{ id: bigint; seconds: number }>;
  /** Prolongs the lease to its full time; resolves with its seconds, 0 when it is gone. */
  keepLease(id: bigint, timeoutMs: number): Promise<number>;
  /** Ends the lease and with it its keys. A lease that is gone is no error. */
  endLease(id: bigint, timeoutMs: number): Promise<void>;
  /**
   * Resolves when a key from `key` on and before `end` has changed at or after the revision, when the signal aborts, or when
   * it cannot be known.
   */
  untilChanged(range: { key: string; end: string }, fromRevision: number, signal: AbortSignal): Promise<void>;
  /** Forgets the history before the revision. */
  compact(revision: number, timeoutMs: number): Promise<void>;
  close(): void;
}

export interface Transaction {
  conditions: readonly Condition[];
  perform: readonly Operation[];
  /** Done instead when a condition does not hold. */
  otherwise: readonly Operation[];
}

/** `created`: the revision that created the key, 0 where there is none; `modified`: the one that last wrote it. */
export type Condition =
  | { key: string; created: number }
  | { key: string; modified: number }
  | { key: string; value: string };

export type Operation =
  | { kind: 'put'; key: string; value: string | Uint8Array; lease?: bigint }
  | { kind: 'delete'; key: string; end?: string }
  | { kind: 'read'; key: string; end?: string; limit?: number; revision?: number };

export interface Outcome {
  /** Whether all conditions held. */
  held: boolean;
  /** Of the store as a whole, after it. */
  revision: number;
  /** One for each operation that was done; what was read, and whether there is more; empty for the others. */
  results: { entries: Entry[]; more: boolean }[];
}

export interface Entry {
  key: string;
  value: Buffer;
  created: number;
  modified: number;
  lease: bigint;
}

/** `unknown`: it may have been done or may yet be; `refused`: it was not and will not be. */
export type Fault = 'unknown' | 'refused';

export class EtcdError extends Error {
  constructor(
    readonly fault: Fault,
    message: string,
    /** By https://grpc.io/docs/guides/status-codes/; null when no answer came. */
    readonly status: number | null = null,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'EtcdError';
  }
}

/** The end of the range of all keys that begin with the prefix: the next key after them in the order of bytes. */
export function endOf(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  if (!(last < 0x7f)) throw new RangeError(`the prefix ${JSON.stringify(prefix)} must end with an ASCII character`);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}
