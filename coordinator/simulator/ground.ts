import { logNormal } from './dice.js';
import { type Server, Serving } from './station.js';

/** An instance that a policy wants to be there. */
export interface Wanted {
  id: string;
  host: string;
  cpu: number;
  leaving: boolean;
}

export interface GroundInstance extends Server {
  host: string;
  createdAt: number;
}

export interface Moves {
  created: number;
  ended: number;
  resized: number;
}

/** The instances of a component that are really there. New ones take their time to start; sizes change at once. */
export class Ground {
  readonly moves: Moves = { created: 0, ended: 0, resized: 0 };
  /** Cores that are paid for: from the decision to create until an instance is gone. */
  allottedCpu = 0;
  serving = new Serving([]);
  #instances: readonly GroundInstance[] = [];
  #asked: readonly Wanted[] | null = null;
  readonly #deadHosts = new Set<string>();
  readonly #start: { p50: number; p99: number };
  readonly #random: () => number;

  constructor(start: { p50: number; p99: number }, random: () => number) {
    this.#start = start;
    this.#random = random;
  }

  get instances(): readonly GroundInstance[] {
    return this.#instances;
  }

  /** `warm`: those that are new serve at once, as at the beginning. */
  apply(wanted: readonly Wanted[], now: number, warm = false): void {
    if (wanted === this.#asked) return;
    this.#asked = wanted;
    const before = new Map(this.#instances.map((each) => [each.id, each]));
    const after: GroundInstance[] = [];
    let created = 0;
    for (const { id, host, cpu, leaving } of wanted) {
      if (this.#deadHosts.has(host)) continue;
      const known = before.get(id);
      if (known === undefined) {
        created += 1;
        const readyAt = warm ? now : now + logNormal(this.#start, this.#random);
        after.push({ id, host, cpu, leaving, readyAt, createdAt: now });
        continue;
      }
      if (known.cpu !== cpu) this.moves.resized += 1;
      after.push(known.cpu === cpu && known.leaving === leaving ? known : { ...known, cpu, leaving });
    }
    this.moves.created += created;
    this.moves.ended += before.size + created - after.length;
    this.#take(after);
  }

  failHost(host: string): void {
    this.#deadHosts.add(host);
    this.#take(this.#instances.filter((each) => each.host !== host));
  }

  #take(instances: readonly GroundInstance[]): void {
    this.#instances = instances;
    this.serving = new Serving(instances);
    this.allottedCpu = instances.reduce((sum, { cpu }) => sum + cpu, 0);
  }
}
