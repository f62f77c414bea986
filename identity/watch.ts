import type { Logger } from 'pino';
import type { Identity } from './identity.js';

/** How soon replaced files are noticed. */
const LOOK_MS = 1_000;

/**
 * Calls back whenever the files of an identity have changed, so that certificates are renewed without a restart. What the
 * listener throws is logged: the identity before goes on. Returns a function that ends it.
 */
export function watchIdentity(identity: Identity, listener: () => void, log: Logger): () => void {
  let version = identity.version();
  const timer = setInterval(() => {
    const now = identity.version();
    if (now === version) return;
    version = now;
    try {
      listener();
      log.info({ folder: identity.folder }, 'the identity was read again');
    } catch (error) {
      log.error({ err: error }, 'the new identity cannot be used; the one before stays');
    }
  }, LOOK_MS);
  return () => clearInterval(timer);
}
