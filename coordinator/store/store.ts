import { ShoalError } from '../../protocol/errors.js';

/**
 * The coordinator's durable memory: a small ordered map of plain values. Only the leader may write: every commit is
 * fenced by the term that campaign() won, so a coordinator that lost its leadership without noticing cannot write.
 */
export type StoreValue = null | boolean | number | string | StoreValue[] | { [key: string]: StoreValue };

export type StoreOperation = { kind: 'put'; key: string; value: unknown } | { kind: 'delete'; key: string };

/** What a coordinator says of itself to those that follow it. */
export interface Candidate {
  name: string;
  /** Where its HTTP API can be reached, such as http://10.0.0.1:7946. */
  api: string;
  /** Where agents of other hosts dial it, HOST:PORT; null: nowhere. */
  link: string | null;
}

/** Whether the store answers; `detail` says where it is and, when it does not answer, why and what to do. */
export interface StoreHealth {
  engine: 'lmdb' | 'etcd';
  reachable: boolean;
  detail: string;
}

export interface Store {
  /**
   * Whether coordinators of several hosts can use the store at once. Then campaign() waits for the leader before; in
   * an embedded store it takes over at once.
   */
  readonly shared: boolean;
  readonly health: StoreHealth;
  /** Who led when it was last looked, while this one waits in campaign() or leads. */
  readonly leader: Candidate | null;
  /** Everything whose key starts with the prefix, by key in ascending order, as it was at one moment. */
  load(prefix: string): Promise<Map<string, unknown>>;
  /**
   * Applies the whole batch or nothing; resolved means that it survives a crash of this process.
   * Throws SHOAL_E_NOT_LEADER when this store does not lead (any more): then another coordinator may find the batch
   * applied, whole, or not at all. Every other error means that nothing was applied. With a term it throws so too when the
   * store leads by now with a later one: what was decided from the state of before may not be written after it.
   * An empty batch asks the store whether this one still leads.
   */
  commit(batch: readonly StoreOperation[], term?: number): Promise<void>;
  /**
   * Resolves with the term once this store leads: a number that is greater than that of every leader before. Throws
   * SHOAL_E_CANCELLED when the signal aborts while it waits.
   */
  campaign(candidate?: Candidate, signal?: AbortSignal): Promise<number>;
  /**
   * The process of the leader was seen to be gone: who waits in campaign() need not wait until its time is over. Does
   * nothing where it is not, or no longer, that one which leads.
   */
  endLeadershipOf(leader: Candidate): Promise<void>;
  /** Gives leadership up, so that another one need not wait for its end; campaign() may win it again. */
  resign(): Promise<void>;
  /** Whether this store leads, with this term if one is given, as far as it can know without asking anybody. */
  leads(term?: number): boolean;
  /** Called once for every leadership that was lost, however it was noticed. Returns a function that unsubscribes. */
  onLeadershipLost(listener: () => void): () => void;
  /** Gives leadership up and releases the files or connections. */
  close(): Promise<void>;
}

/** Longest key in bytes of UTF-8 that every store must take. */
export const STORE_KEY_BYTES_MAX = 512;
/** Longest value in bytes of JSON: etcd takes 1.5 MiB in a request. */
export const STORE_VALUE_BYTES_MAX = 1024 * 1024;

/** The operation as it is stored; `text` null: the key is removed. Throws SHOAL_E_STORE on what no store takes. */
export function encodeOperation(operation: StoreOperation): { key: string; text: string | null } {
  const { key } = operation;
  const bytes = Buffer.byteLength(key);
  if (bytes === 0 || bytes > STORE_KEY_BYTES_MAX) {
    throw new ShoalError('SHOAL_E_STORE', `a key of ${bytes} bytes; allowed are 1 to ${STORE_KEY_BYTES_MAX}`);
  }
  if (operation.kind === 'delete') return { key, text: null };
  const text = JSON.stringify(operation.value);
  if (text === undefined) throw new ShoalError('SHOAL_E_STORE', `the value of ${key} cannot be stored`);
  const length = Buffer.byteLength(text);
  if (length > STORE_VALUE_BYTES_MAX) {
    throw new ShoalError(
      'SHOAL_E_STORE',
      `the value of ${key} has ${length} bytes; allowed are ${STORE_VALUE_BYTES_MAX}`,
    );
  }
  return { key, text };
}

export function decodeValue(key: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_STORE', `the store is damaged at ${key}`, { cause });
  }
}
