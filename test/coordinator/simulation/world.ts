import type { Clockwork } from '../../../coordinator/clockwork.js';
import { stream } from '../../../coordinator/simulator/dice.js';

interface Happening {
  atMs: number;
  order: number;
  action: () => void;
}

/** One thread of events in simulated time, all chance from one seed: the same seed, the same history. */
export class World {
  readonly random: () => number;
  #nowMs = 0;
  #order = 0;
  /** A binary heap by time, then by order of entry. */
  readonly #heap: Happening[] = [];

  constructor(seed: number) {
    this.random = stream(seed, 'world');
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.random();
  }

  at(atMs: number, action: () => void): void {
    this.#order += 1;
    const heap = this.#heap;
    heap.push({ atMs: Math.max(atMs, this.#nowMs), order: this.#order, action });
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!isBefore(heap[i] as Happening, heap[parent] as Happening)) break;
      swap(heap, i, parent);
      i = parent;
    }
  }

  /** Lets everything happen until then; `look` is called after each event, when all that follows from it at once is done. */
  async run(untilMs: number, look: () => void): Promise<void> {
    while (this.#happen(untilMs)) {
      await settled();
      look();
    }
    this.#nowMs = untilMs;
  }

  /** As run(), of a world without promises. */
  play(untilMs: number): void {
    while (this.#happen(untilMs));
    this.#nowMs = untilMs;
  }

  /** The next event, if there is one until then. */
  #happen(untilMs: number): boolean {
    const next = this.#heap[0];
    if (next === undefined || next.atMs > untilMs) return false;
    this.#take();
    this.#nowMs = next.atMs;
    next.action();
    return true;
  }

  #take(): void {
    const heap = this.#heap;
    const last = heap.pop() as Happening;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const least = right < heap.length && isBefore(heap[right] as Happening, heap[left] as Happening) ? right : left;
      if (!isBefore(heap[least] as Happening, heap[i] as Happening)) return;
      swap(heap, i, least);
      i = least;
    }
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function swap(heap: Happening[], i: number, j: number): void {
  const kept = heap[i] as Happening;
  heap[i] = heap[j] as Happening;
  heap[j] = kept;
}

/** All promises that can go on have gone on: they do so before the event loop's next turn. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * A process of the world: what it does ends with it, at whatever await it is, and stands still while it is stopped. Its
 * clock runs a little faster or slower than others'.
 */
export class Process implements Clockwork {
  readonly #world: World;
  readonly #rate: number;
  #dead = false;
  #stoppedUntilMs = 0;

  constructor(world: World, driftMax: number) {
    this.#world = world;
    this.#rate = 1 + world.between(-driftMax, driftMax);
  }

  get lives(): boolean {
    return !this.#dead;
  }
  get runs(): boolean {
    return !this.#dead && this.#world.nowMs >= this.#stoppedUntilMs;
  }

  nowMs(): number {
    return this.#world.nowMs * this.#rate;
  }

  after(ms: number, action: () => void): () => void {
    let wanted = true;
    this.at(this.#world.nowMs + ms / this.#rate, () => {
      if (wanted) action();
    });
    return () => {
      wanted = false;
    };
  }

  /** At that moment of the world, or when the process goes on after it; never when it is dead. */
  at(atMs: number, action: () => void): void {
    this.#world.at(Math.max(atMs, this.#stoppedUntilMs), () => {
      if (this.#dead) return;
      if (this.#world.nowMs < this.#stoppedUntilMs) this.at(this.#stoppedUntilMs, action);
      else action();
    });
  }

  kill(): void {
    this.#dead = true;
  }

  stop(ms: number): void {
    this.#stoppedUntilMs = this.#world.nowMs + ms;
  }
}
