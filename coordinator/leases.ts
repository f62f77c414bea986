import { LIMITS } from '../protocol/limits.js';
import { CLOCKWORK, type Clockwork } from './clockwork.js';

/** What is known of the leases under which hosts run singletons. */
export interface KnownLeases {
  /** Whether no singleton can be running any more on a host that could not be asked. */
  isOver(host: string): boolean;
}

/** Beyond the lease itself: clocks that run apart, and the time in which a shim notices and kills. */
const OVER_MS = LIMITS.singletonLeaseMs + LIMITS.singletonMarginMs;

/**
 * When each host was last answered that its singletons may go on. It counted its lease from when it asked, which was
 * before; so a lease is over when that time and a margin have gone by here. By a clock that nobody sets. Leaders before
 * this one have answered nobody since this one leads, so that a host not answered yet counts from then.
 */
export class Leases implements KnownLeases {
  readonly #clockwork: Clockwork;
  readonly #sinceMs: number;
  readonly #answeredMs = new Map<string, number>();

  constructor(clockwork: Clockwork = CLOCKWORK) {
    this.#clockwork = clockwork;
    this.#sinceMs = clockwork.nowMs();
  }

  /** To be called before the host is answered. */
  prolong(host: string): void {
    this.#answeredMs.set(host, this.#clockwork.nowMs());
  }

  isOver(host: string): boolean {
    return this.#clockwork.nowMs() - (this.#answeredMs.get(host) ?? this.#sinceMs) > OVER_MS;
  }
}

/** Of hosts that are never asked. */
export const NO_LEASES: KnownLeases = { isOver: () => false };
