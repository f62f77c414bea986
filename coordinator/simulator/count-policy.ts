import { HOST_LOST_MS } from '../host-standing.js';
import type { Wanted } from './ground.js';
import type { Policy, View } from './policy.js';

/** How many instances of which size a component shall have. */
export interface Allotment {
  count: number;
  cpu: number;
}

/** Decides on one component by itself, each second; mostly it answers `current`. */
export type Scaler = (now: number, view: View, current: Allotment) => Allotment;

/** A host's instances are known to be lost so long after it died: as long as Shoal takes, for all alike. */
const LOST_SECONDS = HOST_LOST_MS / 1000;

/**
 * Turns the counts that an autoscaler wants into instances, spread evenly over the hosts. Those of a lost host are
 * replaced, and of too many the newest leave.
 */
export class CountPolicy implements Policy {
  readonly periodSeconds = 1;
  readonly #scalers: readonly Scaler[];
  readonly #fleets: Fleet[];
  readonly #lostAt = new Map<string, number>();

  constructor(
    names: readonly string[],
    hosts: readonly string[],
    starts: readonly Allotment[],
    scalers: readonly Scaler[],
  ) {
    this.#scalers = scalers;
    this.#fleets = names.map((name, index) => new Fleet(name, hosts, starts[index] ?? { count: 1, cpu: 1 }));
  }

  decide(now: number, views: readonly View[]): readonly (readonly Wanted[])[] {
    for (const [host, at] of this.#lostAt) {
      if (now < at + LOST_SECONDS) continue;
      this.#lostAt.delete(host);
      for (const fleet of this.#fleets) fleet.lose(host);
    }
    return this.#fleets.map((fleet, index) => {
      const view = views[index];
      const scaler = this.#scalers[index];
      if (now > 0 && view !== undefined && scaler !== undefined) fleet.current = scaler(now, view, fleet.current);
      return fleet.wanted();
    });
  }

  hostFailed(host: string, now: number): void {
    this.#lostAt.set(host, now);
  }
}

class Fleet {
  current: Allotment;
  readonly #name: string;
  readonly #perHost: Map<string, number>;
  #list: readonly Wanted[] = [];
  /** What the list was made for, once nobody in it leaves. */
  #settled: Allotment | null = null;
  #next = 0;

  constructor(name: string, hosts: readonly string[], start: Allotment) {
    this.#name = name;
    this.#perHost = new Map(hosts.map((host) => [host, 0]));
    this.current = start;
  }

  lose(host: string): void {
    this.#settled = null;
    this.#perHost.delete(host);
    this.#list = this.#list.filter((each) => each.host !== host);
  }

  wanted(): readonly Wanted[] {
    const { count, cpu } = this.current;
    const list = this.#list;
    if (this.#settled === this.current) return list;
    const staying = list.filter(({ leaving }) => !leaving);
    for (const { host, leaving } of list) if (leaving) this.#note(host, -1);
    const next = staying.map((each, index): Wanted => {
      const leaving = index >= count;
      return each.cpu === cpu && !leaving ? each : { ...each, cpu: leaving ? each.cpu : cpu, leaving };
    });
    while (next.length < count && this.#perHost.size > 0) {
      const host = this.#emptiest();
      this.#note(host, 1);
      next.push({ id: `${this.#name}-${this.#next}`, host, cpu, leaving: false });
      this.#next += 1;
    }
    this.#list = next;
    if (next.length === count) this.#settled = this.current;
    return next;
  }

  #emptiest(): string {
    let found = '';
    for (const [host, count] of this.#perHost)
      if (count < (this.#perHost.get(found) ?? Number.POSITIVE_INFINITY)) found = host;
    return found;
  }

  #note(host: string, change: number): void {
    const count = this.#perHost.get(host);
    if (count !== undefined) this.#perHost.set(host, count + change);
  }
}
