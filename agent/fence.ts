import { ShoalError } from '../protocol/errors.js';
import { readJson, writeAtomic } from './atomic-file.js';

/**
 * Keeps the highest term of a leader that was obeyed, so that none with a lower one ever is: a leader that was deposed
 * without noticing has no effect on this host. Kept across restarts of the agent.
 */
export class Fence {
  readonly #path: string;
  #term: number;
  #durable: number;
  #stored: Promise<void> = Promise.resolve();

  private constructor(path: string, term: number) {
    this.#path = path;
    this.#term = term;
    this.#durable = term;
  }

  /** Throws SHOAL_E_HOST when the file cannot be understood: then nobody can be obeyed safely. */
  static async open(path: string): Promise<Fence> {
    const stored = await readJson(path);
    if (stored === null) return new Fence(path, 0);
    const { term } = stored as { term?: unknown };
    if (typeof term === 'number' && Number.isSafeInteger(term) && term >= 0) return new Fence(path, term);
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
      const remedy = `if the coordinators' store was restored from a backup, remove ${this.#path} and restart the agent`;
      const detail = `the coordinator leads with term ${term}, and one with ${this.#term} was obeyed before`;
      throw new ShoalError('SHOAL_E_NOT_LEADER', `${detail}; ${remedy}`);
    }
    this.#term = term;
    // One after another; a failure belongs to who asked for it, and is tried again with the next message.
    if (this.#durable < term) this.#stored = this.#stored.catch(() => undefined).then(() => this.#store(term));
    return this.#stored;
  }

  async #store(term: number): Promise<void> {
    if (this.#durable >= term) return;
    await writeAtomic(this.#path, JSON.stringify({ term }));
    this.#durable = term;
  }
}
