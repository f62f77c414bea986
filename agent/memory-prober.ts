import type { Logger } from 'pino';
import { type MemoryProbe, probeStep } from './memory-probe.js';

/** The part of an instance's cgroup that probing needs. */
export interface Probeable {
  /** Null where the cgroup is gone or its kernel does not tell. */
  memory(): Promise<{ usedBytes: number; stalledUs: number } | null>;
  /** Has the kernel take back so much; it may find less. */
  reclaim(bytes: number): Promise<void>;
}

/** Looks at each instance so often: senpai's interval. */
const LOOK_MS = 6_000;

/**
 * Probes the memory of the instances that run here. It goes by memory.reclaim and not by a lowered memory.high: nothing
 * of it is left when the agent is killed, and no instance is ever slowed by a limit of ours.
 */
export class MemoryProber {
  readonly #probes = new Map<string, MemoryProbe>();
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(
    /** By a name that no later instance has. */
    private readonly cgroups: () => ReadonlyMap<string, Probeable>,
    private readonly log: Logger,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  start(): void {
    this.#timer = setInterval(() => {
      // Taking back may take long; then it is the next turn's.
      if (!this.#busy) this.#working = this.round();
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** A look at each, one after the other; one that fails is logged. */
  async round(): Promise<void> {
    this.#busy = true;
    const cgroups = this.cgroups();
    for (const name of this.#probes.keys()) if (!cgroups.has(name)) this.#probes.delete(name);
    for (const [name, cgroup] of cgroups) {
      await this.#look(name, cgroup).catch((error: unknown) =>
        this.log.warn({ err: error, cgroup: name }, 'cannot probe the memory of an instance'),
      );
    }
    this.#busy = false;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#working;
  }

  async #look(name: string, cgroup: Probeable): Promise<void> {
    const memory = await cgroup.memory();
    if (memory === null) return;
    const { probe, reclaimBytes } = probeStep(this.#probes.get(name) ?? null, { atMs: this.clock(), ...memory });
    this.#probes.set(name, probe);
    if (reclaimBytes > 0) await cgroup.reclaim(reclaimBytes);
  }
}
