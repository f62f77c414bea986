import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';

/** The two ends of a channel, by the ids of their instances; `host`: the other one, of a channel between two. */
export interface Ends {
  caller: string;
  callee: string;
  host?: string;
}

/** Counts the channels that are open, so that nobody has more than his share. */
export class ChannelCounts {
  readonly #open = new Map<number, Ends>();
  readonly #counts = new Map<string, number>();
  #next = 1;

  get size(): number {
    return this.#open.size;
  }

  /** Throws SHOAL_E_OVERLOADED, naming the limit, when there may be no more of them. */
  assertRoom(ends: Ends): void {
    for (const [what, most] of limitsOf(ends)) {
      if ((this.#counts.get(what) ?? 0) < most) continue;
      throw new ShoalError('SHOAL_E_OVERLOADED', `there are ${most} channels ${what}, which is the most`);
    }
  }

  /** A number that no other channel has had. */
  take(): number {
    return this.#next++;
  }

  add(number: number, ends: Ends): void {
    this.#open.set(number, ends);
    for (const [what] of limitsOf(ends)) this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  get(number: number): Ends | undefined {
    return this.#open.get(number);
  }

  remove(number: number): void {
    const ends = this.#open.get(number);
    if (ends === undefined) return;
    this.#open.delete(number);
    for (const [what] of limitsOf(ends)) {
      const left = (this.#counts.get(what) ?? 0) - 1;
      if (left > 0) this.#counts.set(what, left);
      else this.#counts.delete(what);
    }
  }

  /** The process of the instance has ended, and its ends of channels with it. */
  forget(id: string): void {
    for (const [number, { caller, callee }] of this.#open) {
      if (caller === id || callee === id) this.remove(number);
    }
  }
}

/** What a channel counts for, and how many of it there may be. */
function limitsOf({ caller, callee, host }: Ends): [what: string, most: number][] {
  return [
    [`from ${caller}`, LIMITS.channelsPerInstanceMax],
    [`to ${callee}`, LIMITS.channelsPerInstanceMax],
    [`from ${caller} to ${callee}`, LIMITS.channelsPerPairMax],
    ...(host === undefined
      ? []
      : [[`between this host and ${host}`, LIMITS.channelsPerHostPairMax] as [string, number]]),
  ];
}
