import type { Logger } from 'pino';
import type { Identity } from '../identity/identity.js';
import { toShoalError } from '../protocol/errors.js';
import { REVOKED_PREFIX } from './revoking.js';
import type { Store } from './store/store.js';

/** How often it is looked. */
const LOOK_MS = 1_000;

export interface RevokedWatchOptions {
  identity: Identity;
  store: Store;
  /** Whoever leads knows it from its own state. */
  leads: () => boolean;
  /** The certificate of this coordinator was found to be revoked, or replaced since. */
  changed: (isRevoked: boolean) => void;
  log: Logger;
}

/** Learns from the store which certificates are revoked, while another coordinator leads, and whether the own one is. */
export class RevokedWatch {
  readonly #options: RevokedWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #looking = false;
  #known = false;
  #isOwn = false;

  constructor(options: RevokedWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
    void this.#look();
  }

  /** Whether what is revoked was read once: before that nobody should be believed. */
  get isKnown(): boolean {
    return this.#known;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    // A store that is away takes longer to say so.
    if (this.#looking) return;
    this.#looking = true;
    const { identity, store, leads, log } = this.#options;
    try {
      if (!leads()) {
        const keys = [...(await store.load(REVOKED_PREFIX)).keys()];
        identity.tellRevoked(keys.map((key) => key.slice(REVOKED_PREFIX.length)));
      }
      this.#known = true;
    } catch (error) {
      log.debug({ detail: toShoalError(error).message }, 'it cannot be asked which certificates are revoked');
    } finally {
      this.#looking = false;
    }
    this.#lookAtOwn();
  }

  #lookAtOwn(): void {
    const { identity, changed, log } = this.#options;
    try {
      const isOwn = identity.isRevoked();
      if (isOwn === this.#isOwn) return;
      this.#isOwn = isOwn;
      changed(isOwn);
    } catch (error) {
      log.debug({ detail: toShoalError(error).message }, 'the own certificate cannot be read');
    }
  }
}
