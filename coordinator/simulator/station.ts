import type { LatencyBook } from './latency-book.js';

/** Work that a component does for one request. */
export interface Service {
  /** CPU-seconds on average. */
  cpuSeconds: number;
  /** Standard deviation of the CPU-seconds in parts of their mean: 1 for exponential, 0 for always the same. */
  variation: number;
}

/** An instance as the requests see it. */
export interface Server {
  id: string;
  cpu: number;
  /** Second from which it serves. */
  readyAt: number;
  /** It finishes what it has, and gets nothing new. */
  leaving: boolean;
}

/** What went on in a step. */
export interface StepResult {
  finished: number;
  /** Lost with an instance that died. */
  failed: number;
  cpuSeconds: number;
  /** Requests that wait or run at the end. */
  outstanding: number;
  /** On average over the step. */
  outstandingMean: number;
}

/** The queue of a component. Two engines: `flow`, by formulas for each second; `events`, request by request. */
export interface Station {
  /** From now on these serve; those that are missing are gone, and what they had is lost unless they were leaving. */
  change(servers: readonly Server[], nowSeconds: number): void;
  /** Latencies of what finishes go to `book`. */
  step(fromSeconds: number, seconds: number, arrived: number, book: LatencyBook): StepResult;
}

/** An instance runs as many requests at once as its largest size has cores, each with an even share of its CPU. */
export function workersOf(cpuMax: number): number {
  return Math.max(1, Math.ceil(cpuMax - 1e-9));
}

/** How many serve, and the cores that they have in all; one that gets ready within a span counts for the rest of it. */
export class Serving {
  readonly #servers: readonly Server[];
  readonly #whole = { count: 0, cpu: 0 };
  readonly #lastReadyAt: number;

  constructor(servers: readonly Server[]) {
    this.#servers = servers.filter(({ leaving }) => !leaving);
    this.#lastReadyAt = this.#servers.reduce((last, { readyAt }) => Math.max(last, readyAt), 0);
    for (const { cpu } of this.#servers) {
      this.#whole.count += 1;
      this.#whole.cpu += cpu;
    }
  }

  during(from: number, seconds: number): { count: number; cpu: number } {
    if (from >= this.#lastReadyAt) return this.#whole;
    const sum = { count: 0, cpu: 0 };
    for (const { cpu, readyAt } of this.#servers) {
      const share = Math.min(1, (from + seconds - readyAt) / seconds);
      if (share <= 0) continue;
      sum.count += share;
      sum.cpu += share * cpu;
    }
    return sum;
  }
}
