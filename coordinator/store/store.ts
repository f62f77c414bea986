/**
 * The coordinator's durable memory: a small ordered map of plain values. Only the leader may write: every commit is
 * fenced by the term that campaign() won, so a coordinator that lost its leadership without noticing cannot write.
 */
export type StoreValue = null | boolean | number | string | StoreValue[] | { [key: string]: StoreValue };

export type StoreOperation = { kind: 'put'; key: string; value: unknown } | { kind: 'delete'; key: string };

export interface Store {
  /** Everything whose key starts with the prefix, by key in ascending order. */
  load(prefix: string): Promise<Map<string, unknown>>;
  /**
   * Applies the whole batch or nothing; resolved means that it survives a crash of this process.
   * Throws SHOAL_E_NOT_LEADER when this store does not lead.
   */
  commit(batch: readonly StoreOperation[]): Promise<void>;
  /** Resolves with the term once this store leads. A later campaign by another process ends it. */
  campaign(): Promise<number>;
  /** Called once for every leadership that was lost, however it was noticed. Returns a function that unsubscribes. */
  onLeadershipLost(listener: () => void): () => void;
  /** Gives leadership up and releases the files. */
  close(): Promise<void>;
}

/** Longest key in bytes of UTF-8 that every store must take. */
export const STORE_KEY_BYTES_MAX = 512;
