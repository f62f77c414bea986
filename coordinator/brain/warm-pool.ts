import type { DesiredWarm } from '../../protocol/link.js';
import type { Component } from '../../protocol/manifest.js';

/** How far the pool looks ahead, and how long what it was sized for holds: within it one that was taken is long replaced. */
export const POOL_SECONDS = 60;
/** For what nobody has foreseen. */
const SPARE = 1;

/** What a pool is sized by. */
export interface PoolNeed {
  /** Instances that are planned for now, and cores of one. */
  count: number;
  cpu: number;
  /** At which each of them still keeps the objective, 0 … 1. */
  utilisation: number;
  /** The highest demand that is foreseen within POOL_SECONDS, cores. */
  highestCpu: number;
}

/**
 * How many processes shall wait in all: as many as what is foreseen needs beyond the instances that are planned, each as
 * busy as it may be, and one more. Pure.
 */
export function poolSize({ count, cpu, utilisation, highestCpu }: PoolNeed): number {
  // A hair more than a whole number is the noise of sums, not one instance more.
  const foreseen = Math.ceil(highestCpu / (cpu * utilisation) - 1e-6);
  return Math.max(0, foreseen - count) + SPARE;
}

/**
 * Processes that shall wait on a host of an app: as many as the manifest allows, as are needed, and as could still become
 * instances there, each with the size of a smallest instance until it is one. Pure.
 *
 * @param present instances that the host has, by component
 * @param needed how many of a component are needed on each host; undefined: not known, so as many as the manifest allows
 */
export function warmOn(
  app: string,
  components: Readonly<Record<string, Component>>,
  present: ReadonlyMap<string, number>,
  needed: (component: string) => number | undefined = () => undefined,
): DesiredWarm[] {
  return Object.entries(components).flatMap(([component, { warm = 0, count, size }]) => {
    const wanted = Math.min(warm, needed(component) ?? warm, count.max - (present.get(component) ?? 0));
    const least = { cpu: size.cpu.min, memory: size.memory.min };
    return wanted > 0 ? [{ app, component, count: wanted, size: least }] : [];
  });
}
