import type { Built } from '../../protocol/link.js';
import type { Ways } from '../image-store/store.js';

/** How often it is asked whether another host has built it. */
const ASK_MS = 1_000;

export interface ElsewhereOptions {
  /** Who has built it, or builds it. */
  ask(): Promise<Built>;
  take: Ways['take'];
  onStep(step: string): void;
  sleep(ms: number): Promise<void>;
}

/**
 * Has the image of a build from hosts that have made it, and waits for one that makes it now, so that code is built once in the
 * cluster. Answers the digest of its manifest; null: it is this host's to build.
 */
export async function builtElsewhere({ ask, take, onStep, sleep }: ElsewhereOptions): Promise<string | null> {
  for (;;) {
    const { manifest, hosts, builder } = await ask();
    if (manifest !== undefined) {
      onStep(`take it from ${hosts.map(({ host }) => host).join(', ')}`);
      return take(manifest, hosts);
    }
    if (builder === undefined) return null;
    onStep(`wait for ${builder}, which builds it`);
    await sleep(ASK_MS);
  }
}
