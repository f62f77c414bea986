/**
 * A bound on a rate that lets bursts pass: so many tokens come each second, up to so many are kept, and what is taken
 * beyond them is a debt that has to be waited off. Times in ms of a clock that only goes forward.
 */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #clock: () => number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, clock: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#clock = clock;
    this.#tokens = burst;
    this.#atMs = clock();
  }

  take(tokens: number): void {
    this.#fill();
    this.#tokens -= tokens;
  }

  /** Beyond what is kept, for what somebody has been asked to do. */
  give(tokens: number): void {
    this.#fill();
    this.#tokens += tokens;
  }

  /** Back, of what was taken: no more than is kept. */
  giveBack(tokens: number): void {
    this.#fill();
    this.#tokens = Math.max(this.#tokens, Math.min(this.#burst, this.#tokens + tokens));
  }

  /** How long until what was taken has come; 0 without a debt. */
  debtMs(): number {
    this.#fill();
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#perSecond) * 1_000);
  }

  #fill(): void {
    const nowMs = this.#clock();
    const come = ((nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#atMs = nowMs;
    // What was given on top stays; nothing more comes to it.
    this.#tokens = Math.max(this.#tokens, Math.min(this.#burst, this.#tokens + come));
  }
}
