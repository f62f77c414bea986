import type { StateFigures } from '../protocol/state-figures.js';

/** Says what is new of the state of a host, report by report, on one connection. */
export class StateNews {
  readonly #said = new Map<string, string>();

  /** Components of whose segments something is new; empty ones are gone. Nothing when there is nothing new. */
  news(figures: Readonly<StateFigures>): { state?: StateFigures } {
    const state: StateFigures = {};
    for (const [key, segments] of Object.entries(figures)) {
      const text = JSON.stringify(segments);
      if (this.#said.get(key) === text) continue;
      this.#said.set(key, text);
      state[key] = segments;
    }
    for (const key of this.#said.keys()) {
      if (Object.hasOwn(figures, key)) continue;
      this.#said.delete(key);
      state[key] = [];
    }
    return Object.keys(state).length === 0 ? {} : { state };
  }
}
