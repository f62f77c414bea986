import { ShoalError } from '../protocol/errors.js';
import { readJson, writeAtomic } from './atomic-file.js';

/**
 * Keeps the highest term of a leader that was obeyed, so that none with a lower one ever is: a leader that was deposed
 * without noticing has no effect on this host. Kept across restarts of the agent.
 */
export class Fence {
  readonly #write: (term: number) => Promise<void>;
  #term: number;
  #durable: number;
  #stored: Promise<void> = Promise.resolve();

  /** `write` makes a term durable. */
  constructor(term: number, write: (term: number) => Promise<void>) {
    this.#term = term;
    this.#durable = term;
    this.#write = write;
  }

  /** The fence that is kept in the file. Throws SHOAL_E_HOST when it cannot be understood: then nobody can be obeyed safely. */
  static async open(path: string): Promise<Fence> {
    const write = (term: number) => writeAtomic(path, JSON.stringify({ term }));
    const stored = await readJson(path);
    if (stored === null) return new Fence(0, write);
    const { term } = stored as { term?: unknown };
    if (typeof term === 'number' && Number.isSafeInteger(term) && term >= 0) return new Fence(term, write);
    throw new ShoalError('SHOAL_E_HOST', `${path} holds no term: remove it if no second coordinator can be running`);
  }

  get term(): number {
    return this.#term;
  }

  /**
   * Resolves once it is durable that nobody with a lower term will be obeyed from now on. Throws SHOAL_E_NOT_LEADER at once
   * for a term that is lower than one before.
   */
  admit(term: number): Promise<void> {
    if (term < this.#term) {
      const remedy = `if the coordinators' store was restored from a backup, remove term.json of the agent's --run folder and restart it`;
      const detail = `the coordinator leads with term ${term}, and one with ${this.#term} was obeyed before`;
      throw new ShoalError('SHOAL_E_NOT_LEADER', `${detail}; ${remedy}`);
    }
    this.#term = term;
    // One after another; a failure belongs to who asked for it, and is tried again with the next message.
    if (this.#durable < term) this.#stored = this.#stored.catch(() => undefined).then(() => this.#store(term));
    // Not everybody waits for it: a full disk must not end the agent.
    this.#stored.catch(() => undefined);
    return this.#stored;
  }

  async #store(term: number): Promise<void> {
    if (this.#durable >= term) return;
    await this.#write(term);
    this.#durable = term;
  }
}
