/**
 * Where the calls on a state shard go, as far as their caller knows. It learns from the coordinator's routes and from hosts
 * that say that the shard is elsewhere; of two that say different things the later epoch is right. A call that no host has
 * begun may go elsewhere at once; one that was sent and not answered goes again under its number (agent/state/once.ts).
 */
export class ShardRoute {
  #epoch = 0;
  #host: string | null = null;

  /** The owner's host; null when nobody who can be believed has said it. */
  get host(): string | null {
    return this.#host;
  }

  /** Somebody says who owns the shard in this epoch. */
  learn(epoch: number, host: string): void {
    if (epoch < this.#epoch || (epoch === this.#epoch && this.#host !== null)) return;
    this.#epoch = epoch;
    this.#host = host;
  }

  /** This host does not answer, or owns the shard no longer: somebody has to say it anew, if only the same. */
  doubt(host: string): void {
    if (this.#host === host) this.#host = null;
  }
}
