import type { HostInfo } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { overShareInBalance } from './flow-station.js';
import { type Service, workersOf } from './station.js';

/** Everything that a simulation is given but the policy. */
export interface Scenario {
  manifest: Manifest;
  /** Callers before their callees. The first one gets the requests of the trace. */
  components: readonly SimulatedComponent[];
  /** Requests that come in each second of the trace: as drawn, and as expected. */
  arrived: Float64Array;
  expected: Float64Array;
  /** What each component needs at least in each minute. */
  needs: readonly (readonly Need[])[];
  hosts: readonly HostInfo[];
  /** Hosts that die. */
  failures: readonly { atSeconds: number; host: string }[];
  /** Seconds from a decision until a new instance serves. */
  start: { p50: number; p99: number };
  /** Standard deviation of what is measured of an instance, in parts of it. */
  noise: number;
  seed: number;
  engine: 'flow' | 'events';
}

export interface SimulatedComponent {
  name: string;
  described: Component;
  service: Service;
  /** Requests to others for each request of its own, all at once; index into the components. */
  calls: readonly { to: number; factor: number }[];
  goal: Goal;
}

export interface Need {
  count: number;
  /** Cores of each instance. */
  cpu: number;
}

/** A minute misses the objective when more than the rest of the percentile took longer than the target. */
export interface Goal {
  percentile: number;
  targetMs: number;
}

export function overShareMax({ percentile }: Goal): number {
  return 1 - percentile / 100;
}

/** Requests a second of each component, from those that come in. */
export function ratesOf(components: readonly SimulatedComponent[], incoming: number): number[] {
  const rates = components.map((_, index) => (index === 0 ? incoming : 0));
  for (const [index, { calls }] of components.entries()) {
    for (const { to, factor } of calls) rates[to] = (rates[to] ?? 0) + factor * (rates[index] ?? 0);
  }
  return rates;
}

/** The cheapest count and size that keep the objective in balance, whatever the bounds of the count. Sizes in steps. */
export function needOf(component: SimulatedComponent, requestsPerSecond: number): Need {
  const { cpu } = component.described.size;
  if (!(requestsPerSecond > 0)) return { count: 0, cpu: cpu.min };
  const keeps = (count: number, size: number) => {
    const station = { workers: workersOf(cpu.max), targetMs: component.goal.targetMs };
    return (
      overShareInBalance(component.service, station, count, size, requestsPerSecond) <= overShareMax(component.goal)
    );
  };
  const least = Math.max(1, Math.ceil((requestsPerSecond * component.service.cpuSeconds) / cpu.max));
  const count = firstWhere(least, Math.max(2 * least, least + 64), (n) => keeps(n, cpu.max));
  const [low, high] = [Math.round(cpu.min * 100), Math.round(cpu.max * 100)];
  return { count, cpu: firstWhere(low, high, (hundredths) => keeps(count, hundredths / 100)) / 100 };
}

/** Of each component and minute, at the mean of the expected rates. */
export function needsOf(components: readonly SimulatedComponent[], expected: Float64Array): Need[][] {
  const shares = ratesOf(components, 1);
  return components.map((component, index) =>
    Array.from({ length: Math.ceil(expected.length / 60) }, (_, minute) => {
      const rates = expected.subarray(60 * minute, 60 * (minute + 1));
      return needOf(component, ((shares[index] ?? 0) * rates.reduce((sum, rate) => sum + rate, 0)) / rates.length);
    }),
  );
}

/** Requests a second at which exactly `count` instances of the largest size are needed, as many as possible. */
export function rateFor(component: SimulatedComponent, count: number): number {
  const full = (count * component.described.size.cpu.max) / component.service.cpuSeconds;
  const station = { workers: workersOf(component.described.size.cpu.max), targetMs: component.goal.targetMs };
  const steps = 100_000;
  const missed = firstWhere(0, steps, (step) => {
    const cpu = component.described.size.cpu.max;
    const share = overShareInBalance(component.service, station, count, cpu, (full * step) / steps);
    return share > overShareMax(component.goal);
  });
  return (full * (missed - 1)) / steps;
}

/** The lowest whole number for which it holds, which it then does for all above; `high` when it holds for none. */
function firstWhere(low: number, high: number, holds: (value: number) => boolean): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}
