import type { World } from '../../../coordinator/simulation/world.js';

/** Of a message. */
export const DELAY_MS_MAX = 400;

/** Loses, repeats, delays and reorders what is sent, and is cut between parties; as the seed wants it. */
export class SimNetwork {
  readonly #world: World;
  readonly #lost: number;
  readonly #twice: number;
  readonly #slow: number;
  readonly #cuts = new Set<string>();
  #calm = false;

  constructor(world: World) {
    this.#world = world;
    this.#lost = 0.1 * world.random();
    this.#twice = 0.1 * world.random();
    this.#slow = 0.1 * world.random();
  }

  send(from: string, to: string, action: () => void): void {
    if (this.#isCut(from, to) || this.#chance(this.#lost)) return;
    const copies = this.#chance(this.#twice) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delayMs = this.#chance(this.#slow) ? this.#world.between(1, DELAY_MS_MAX) : this.#world.between(0.2, 3);
      this.#world.at(this.#world.nowMs + delayMs, () => {
        if (!this.#isCut(from, to)) action();
      });
    }
  }

  /** Nobody reaches the party, or one does not reach the other, in one direction or both. */
  cut(from: string, to: string, ms: number): void {
    const cut = `${from} ${to}`;
    this.#cuts.add(cut);
    this.#world.at(this.#world.nowMs + ms, () => this.#cuts.delete(cut));
  }

  /** What is cut is joined again; the weather stays. */
  calmCuts(): void {
    this.#cuts.clear();
  }

  calm(): void {
    this.#calm = true;
    this.#cuts.clear();
  }

  #chance(probability: number): boolean {
    return !this.#calm && this.#world.chance(probability);
  }

  #isCut(from: string, to: string): boolean {
    return [`${from} ${to}`, `* ${to}`, `${from} *`].some((cut) => this.#cuts.has(cut));
  }
}
