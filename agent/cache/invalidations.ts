import { BasicPooledClientSideCache } from '@redis/client';

/**
 * Has the client turn on Redis' tracking of the keys that its connections read (redis.io/docs, client-side caching; default mode,
 * RESP3), and passes on which of them were written since. Keeps nothing itself: commands are given by sendCommand, past it.
 */
export class Invalidations extends BasicPooledClientSideCache {
  readonly #stale: (key: string | null) => void;

  /** `stale`: null when any key may be, as after a connection was lost. */
  constructor(stale: (key: string | null) => void) {
    super();
    this.#stale = stale;
  }

  override trackingOn(): string[] {
    return ['CLIENT', 'TRACKING', 'ON'];
  }
  override invalidate(key: Buffer | string | null): void {
    this.#stale(key === null ? null : key.toString());
  }
  override onError(): void {
    this.#stale(null);
  }
  override onClose(): void {
    this.#stale(null);
  }
}
