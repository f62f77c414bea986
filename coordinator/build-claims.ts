import { appsOn, type ClusterState } from './cluster.js';
import type { Observed } from './observed.js';

/** Within this who has begun to build says so. */
const SAID_WITHIN_MS = 10_000;
const CLAIMS_MAX = 10_000;

/** Which host builds what, so that it is built once: the first that asks, as long as it says that it does. */
export class BuildClaims {
  /** Id of the build → who builds it, and since when. */
  readonly #claims = new Map<string, { host: string; atMs: number }>();

  /** Who builds it instead of the host that asks; null: this one, from now on. */
  builderFor(id: string, asking: string, state: ClusterState, observed: Observed, nowMs: number): string | null {
    const claim = this.#claims.get(id);
    if (claim !== undefined && claim.host !== asking && holds(claim, id, state, observed, nowMs)) return claim.host;
    this.#claims.delete(id);
    this.#claims.set(id, { host: asking, atMs: nowMs });
    // What nobody asks for any more is the oldest.
    for (const oldest of this.#claims.keys()) {
      if (this.#claims.size <= CLAIMS_MAX) break;
      this.#claims.delete(oldest);
    }
    return null;
  }
}

function holds(
  { host, atMs }: { host: string; atMs: number },
  id: string,
  state: ClusterState,
  observed: Observed,
  nowMs: number,
): boolean {
  const seen = observed.hosts.get(host);
  if (seen?.connected !== true) return false;
  const said = seen.builds.find((each) => each.id === id);
  if (said === undefined) return nowMs - atMs < SAID_WITHIN_MS;
  return said.state === 'building' && appsOn(state, host).includes(said.app);
}
