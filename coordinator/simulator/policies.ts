import { type Allotment, CountPolicy } from './count-policy.js';
import { stream } from './dice.js';
import { HPA_DEFAULTS, type HpaSpec } from './hpa.js';
import { KPA_DEFAULTS, KPA_TARGETS, type KpaSpec } from './kpa.js';
import { planOracle } from './oracle.js';
import type { Policy } from './policy.js';
import { constant, hpaScaler, type KpaMetric, kpaScaler, type Noise, planned } from './scalers.js';
import { needOf, ratesOf, type Scenario } from './scenario.js';
import { ShoalPolicy } from './shoal-policy.js';

export const POLICIES = ['shoal', 'hpa', 'kpa', 'static', 'oracle'] as const;
export type PolicyName = (typeof POLICIES)[number];

export interface PolicyOptions {
  /** Shoal's tick. */
  tickSeconds: number;
  hpa: Partial<HpaSpec>;
  kpa: Partial<KpaSpec>;
  kpaMetric: KpaMetric;
}

export const POLICY_DEFAULTS: PolicyOptions = { tickSeconds: 1, hpa: {}, kpa: {}, kpaMetric: 'rps' };

/** A policy at its beginning. All begin with what the first second needs, on the largest size. */
export function makePolicy(name: PolicyName, scenario: Scenario, options: PolicyOptions = POLICY_DEFAULTS): Policy {
  const { components, hosts, seed, manifest } = scenario;
  const names = components.map((component) => component.name);
  const hostNames = hosts.map((host) => host.name);
  const noiseOf = (component: string): Noise => {
    return { share: scenario.noise, random: stream(seed, `noise of ${component}`) };
  };
  const starts = needsAt(scenario, scenario.expected[0] ?? 0);
  if (name === 'shoal') {
    const { tickSeconds } = options;
    const calls = stream(seed, 'calls seen');
    return new ShoalPolicy({ manifest, names, hosts, starts, noise: noiseOf('all'), calls, tickSeconds });
  }
  if (name === 'static') {
    const peak = scenario.arrived.reduce((most, requests) => Math.max(most, requests), 0);
    return new CountPolicy(names, hostNames, needsAt(scenario, peak), names.map(constant));
  }
  if (name === 'oracle') {
    const plans = planOracle(scenario);
    const first = plans.map((plan, index): Allotment => plan[0] ?? (starts[index] as Allotment));
    return new CountPolicy(
      names,
      hostNames,
      first,
      plans.map((plan) => planned(plan, scenario.start.p99)),
    );
  }
  const scalers = components.map(({ name: component, described }) => {
    const { min, max } = described.count;
    if (name === 'hpa') {
      // An HPA does not scale to zero.
      const spec = { ...HPA_DEFAULTS, minReplicas: Math.max(1, min), maxReplicas: max, ...options.hpa };
      return hpaScaler(spec, noiseOf(component));
    }
    const targetTotal = KPA_TARGETS[options.kpaMetric];
    const spec = { ...KPA_DEFAULTS, targetTotal, minScale: min, maxScale: max, ...options.kpa };
    return kpaScaler(spec, options.kpaMetric, noiseOf(component));
  });
  return new CountPolicy(names, hostNames, starts, scalers);
}

function needsAt(scenario: Scenario, incoming: number): Allotment[] {
  const rates = ratesOf(scenario.components, incoming);
  return scenario.components.map((component, index) => {
    const { count } = component.described;
    const need = needOf(component, rates[index] ?? 0).count;
    return { count: Math.min(count.max, Math.max(count.min, need)), cpu: component.described.size.cpu.max };
  });
}
