import { LIMITS } from '../../protocol/limits.js';
import type { HostInfo } from '../../protocol/link.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { drawArrivals } from './arrivals.js';
import { type Goal, needOf, needsOf, rateFor, ratesOf, type Scenario, type SimulatedComponent } from './scenario.js';
import type { Trace } from './trace.js';

/** From a decision until a Node component serves, as `scripts/bench start` measures it; docs/benchmarks.md. Seconds. */
export const START_SHOAL = { p50: 0.086, p99: 0.113 };

/** What is simulated when no app is given: one component whose instances have up to one core. */
export const DEFAULT_WORK = {
  /** With 5 ms a core serves 200 requests a second, the target that Knative's autoscaler has by default. */
  cpuSeconds: 0.005,
  /** Exponential. */
  variation: 1,
  goal: { percentile: 99, targetMs: 50 },
} as const;

const HOST_CORES = 64;
const MIB = 2 ** 20;

export interface Setup {
  trace: Trace;
  /** At its peak the trace needs so many instances of the largest size of the first component. */
  scale: number;
  seed: number;
  burst: number;
  noise: number;
  start: { p50: number; p99: number };
  engine: Scenario['engine'];
  failures: Scenario['failures'];
  /** Fewer than given, or as many as the peak needs. */
  hosts?: number;
}

/** The one component. */
export function simpleApp(
  goal: Goal,
  cpuSeconds: number,
  variation: number,
): { manifest: Manifest; components: SimulatedComponent[] } {
  const described: Component = {
    source: { kind: 'rootfs', rootfs: 'host' },
    command: ['simulated'],
    env: {},
    count: { min: 1, max: LIMITS.instancesPerComponentMax },
    size: { cpu: { min: 0.1, max: 1 }, memory: { min: 64 * MIB, max: 128 * MIB } },
    objective: { kind: 'latency', percentile: goal.percentile, targetMs: goal.targetMs },
    state: 'none',
    calls: [],
    ports: [],
  };
  const component = { name: 'web', described, service: { cpuSeconds, variation }, calls: [], goal };
  return { manifest: { app: 'simulated', components: { web: described } }, components: [component] };
}

export function makeScenario(
  { manifest, components }: { manifest: Manifest; components: readonly SimulatedComponent[] },
  setup: Setup,
): Scenario {
  const [entry] = components;
  if (entry === undefined) throw new Error('an app without components');
  const peak = rateFor(entry, setup.scale);
  const cores = ratesOf(components, peak).reduce((sum, rate, index) => {
    const component = components[index] as SimulatedComponent;
    return sum + needOf(component, rate).count * component.described.size.cpu.max;
  }, 0);
  // Twice the peak finds room without the placement's overcommitment.
  const count = setup.hosts ?? Math.max(2, Math.ceil((2 * cores) / HOST_CORES));
  const hosts = Array.from({ length: count }, (_, index): HostInfo => {
    return {
      name: `host-${index + 1}`,
      cores: HOST_CORES,
      memoryBytes: 512 * 2 ** 30,
      kernel: 'simulated',
      degraded: [],
    };
  });
  const { seed, burst, noise, start, engine, failures } = setup;
  const arrivals = drawArrivals(setup.trace, peak, { burst, seed });
  const needs = needsOf(components, arrivals.expected);
  return { manifest, components, ...arrivals, needs, hosts, failures, start, noise, seed, engine };
}

/** The last so many seconds of a scenario, rounded up to whole minutes of it, with the very same requests. */
export function endOf(scenario: Scenario, seconds: number): Scenario {
  const minute = Math.max(0, Math.floor((scenario.arrived.length - seconds) / 60));
  return {
    ...scenario,
    arrived: scenario.arrived.subarray(60 * minute),
    expected: scenario.expected.subarray(60 * minute),
    needs: scenario.needs.map((each) => each.slice(minute)),
  };
}
