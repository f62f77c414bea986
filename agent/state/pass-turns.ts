/** State shards of this host that are being passed on at once: each is served by nobody until those before it have gone. */
const PASSES_MAX = 1;
/** One that has waited so long goes along with others: the coordinator lets a pass take no longer than a few times this. */
const WAIT_MS_MAX = 2_000;
/** For so long a pass has the host for itself: one takes less, unless a call does not end. */
const ALONE_MS = 100;

/** Whose turn it is to be passed on; until then a state shard is served as before. Pure: the clock is passed in. */
export class PassTurns {
  /** Since when. */
  readonly #under = new Map<string, number>();
  /** In the order in which they came, since when. */
  readonly #waiting = new Map<string, number>();

  /** Whether it may be passed on now; else it waits. */
  take(name: string, nowMs: number): boolean {
    if (this.#under.has(name)) return true;
    const sinceMs = this.#waiting.get(name) ?? nowMs;
    const [first = name] = this.#waiting.keys();
    const isNext = this.#under.size < PASSES_MAX && first === name;
    if (!isNext && nowMs - sinceMs < WAIT_MS_MAX) {
      this.#waiting.set(name, sinceMs);
      return false;
    }
    this.#waiting.delete(name);
    this.#under.set(name, nowMs);
    return true;
  }

  /** It has been passed on, or is not to be any more. */
  done(name: string): void {
    this.#under.delete(name);
    this.#waiting.delete(name);
  }

  isUnder(name: string): boolean {
    return this.#under.has(name);
  }

  /** Whether what can wait should, since nobody serves a state shard that has just begun to be passed on. */
  isHurried(nowMs: number): boolean {
    return [...this.#under.values()].some((sinceMs) => nowMs - sinceMs < ALONE_MS);
  }

  /** Those that wait, the first of them first. */
  get waiting(): string[] {
    return [...this.#waiting.keys()];
  }
}
