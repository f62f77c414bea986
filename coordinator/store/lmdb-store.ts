import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { IF_EXISTS, open, type RootDatabase } from 'lmdb';
import { ShoalError } from '../../protocol/errors.js';
import {
  type Candidate,
  decodeValue,
  encodeOperation,
  type Store,
  type StoreHealth,
  type StoreOperation,
} from './store.js';

/** Keys of the callers are kept under this prefix, so that none can collide with the store's own keys. */
const DATA = 'd:';
const TERM_KEY = 'm:term';
/** There while the leader of that term leads. */
const leaderKey = (term: number) => `m:leads:${term}`;
/** There once the store was moved: where to. */
const MOVED_KEY = 'm:moved';
/** How often a leader looks whether another process has campaigned since. */
const TERM_CHECK_MS = 1_000;

export interface LmdbStoreOptions {
  /** Folder of the database; made with mode 0700 when absent. */
  folder: string;
}

/** A store in one local LMDB file, for a cluster with one coordinator host. */
export function openLmdbStore(options: LmdbStoreOptions): LmdbStore {
  try {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    // overlappingSync off: the transaction's promise resolves only after its pages were synced to disk.
    const database = open<string, string>({
      path: join(options.folder, 'store.mdb'),
      encoding: 'string',
      overlappingSync: false,
      mapSize: 64 * 1024 * 1024,
    });
    return new LmdbStore(database, options.folder);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_STORE', `cannot open the store in ${options.folder}: ${messageOf(cause)}`, { cause });
  }
}

export class LmdbStore implements Store {
  readonly #database: RootDatabase<string, string>;
  readonly #listeners = new Set<() => void>();
  readonly shared = false;
  readonly health: StoreHealth;
  #term: number | null = null;
  #leader: Candidate | null = null;
  #watch: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(database: RootDatabase<string, string>, folder: string) {
    this.#database = database;
    this.health = { engine: 'lmdb', reachable: true, detail: folder };
  }

  get leader(): Candidate | null {
    return this.#leader;
  }

  async load(prefix: string): Promise<Map<string, unknown>> {
    this.#assertOpen();
    const found = new Map<string, unknown>();
    const start = DATA + prefix;
    for (const { key, value } of this.#database.getRange({ start })) {
      if (!key.startsWith(start)) break;
      found.set(key.slice(DATA.length), decodeValue(key, value));
    }
    return found;
  }

  async commit(batch: readonly StoreOperation[], wanted = this.#term): Promise<void> {
    this.#assertOpen();
    const term = this.#term;
    if (term === null || term !== wanted)
      throw new ShoalError('SHOAL_E_NOT_LEADER', 'this store has not won a campaign');
    // Encoded before the transaction: a value that cannot be encoded must not leave half a batch behind.
    const operations = batch.map(encodeOperation);
    // With a condition that the writing thread looks at: a transaction of ours has it ask this thread in the middle, and each of the
    // two wait for the other. The term itself is looked at for coordinators of before, which leave the condition as it is.
    const put = () => {
      for (const { key, text } of operations) {
        if (text === null) void this.#database.remove(DATA + key);
        else void this.#database.put(DATA + key, text);
      }
    };
    const isOurs = this.#storedTerm() === term;
    const applied = isOurs && (await committed(() => this.#database.ifVersion(leaderKey(term), IF_EXISTS, put)));
    if (applied) return;
    this.#lose();
    throw new ShoalError('SHOAL_E_NOT_LEADER', 'another coordinator leads this store since');
  }

  async campaign(candidate?: Candidate): Promise<number> {
    this.#assertOpen();
    const term = await this.#transaction(() => {
      this.#assertNotMoved();
      const before = this.#storedTerm();
      this.#database.removeSync(leaderKey(before));
      this.#database.putSync(TERM_KEY, String(before + 1));
      this.#database.putSync(leaderKey(before + 1), '');
      return before + 1;
    });
    this.#term = term;
    this.#leader = candidate ?? null;
    this.#watch ??= setInterval(() => this.#checkTerm(), TERM_CHECK_MS).unref();
    return term;
  }

  async resign(): Promise<void> {
    this.#lose();
  }

  /** Nobody waits for anybody here. */
  async endLeadershipOf(): Promise<void> {}

  leads(term = this.#term): boolean {
    return this.#term !== null && this.#term === term;
  }

  onLeadershipLost(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * What it held is elsewhere now, and nobody shall lead here any more. Throws SHOAL_E_NOT_LEADER, with nothing changed, when
   * another coordinator has taken over meanwhile.
   */
  async retire(place: string): Promise<void> {
    const term = this.#term;
    const left = await this.#transaction(() => {
      if (term === null || this.#storedTerm() !== term) return false;
      this.#database.putSync(MOVED_KEY, place);
      return true;
    });
    if (left) return;
    const remedy = 'stop it, then move again with --replace';
    throw new ShoalError('SHOAL_E_NOT_LEADER', `a coordinator has taken the store over while it was moved: ${remedy}`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watch);
    this.#term = null;
    this.#listeners.clear();
    await this.#database.close();
  }

  #assertNotMoved(): void {
    const place = this.#database.get(MOVED_KEY);
    if (place === undefined) return;
    throw new ShoalError('SHOAL_E_CONFLICT', `this store was moved to ${place}: start the coordinator with --etcd`);
  }

  #storedTerm(): number {
    const text = this.#database.get(TERM_KEY);
    if (text === undefined) return 0;
    const term = Number(text);
    if (!Number.isSafeInteger(term) || term < 0) {
      throw new ShoalError('SHOAL_E_STORE', `the store holds the term ${JSON.stringify(text)}, which is no term`);
    }
    return term;
  }

  #transaction<T>(action: () => T): Promise<T> {
    return committed(() => this.#database.transaction(action));
  }

  #checkTerm(): void {
    if (this.#term !== null && this.#storedTerm() !== this.#term) this.#lose();
  }

  #lose(): void {
    if (this.#term === null) return;
    this.#term = null;
    this.#leader = null;
    clearInterval(this.#watch);
    this.#watch = undefined;
    for (const listener of [...this.#listeners]) listener();
  }

  #assertOpen(): void {
    if (this.#closed) throw new ShoalError('SHOAL_E_STORE', 'the store is closed');
  }
}

/** What the transaction answers. Throws SHOAL_E_STORE when it fails. */
async function committed<T>(transaction: () => Promise<T>): Promise<T> {
  try {
    return await transaction();
  } catch (cause) {
    if (cause instanceof ShoalError) throw cause;
    throw new ShoalError('SHOAL_E_STORE', `the store could not commit: ${messageOf(cause)}`, { cause });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
