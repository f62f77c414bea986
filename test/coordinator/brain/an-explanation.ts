import type { Explanation } from '../../../coordinator/brain/explanation.js';

export function shape(count: number, cpu: number): Explanation['after'] {
  return { count, size: { cpu, memory: 2 ** 26 } };
}

/** A component at rest, changed as told. */
export function explanation(change: Partial<Explanation> = {}): Explanation {
  return {
    atMs: 1_800_000_000_000,
    seen: {
      usedCpu: 0.4,
      allottedCpu: 0.5,
      arrivedPerSecond: 20,
      finishedPerSecond: 19,
      outstanding: 2,
      latencyMs: 12,
    },
    learned: { costCpu: 0.02, idleCpu: 0.01, unqueuedMs: 8 },
    demand: { cpu: 0.4, basis: 'used', backlogCpu: 0, nextCpu: 0.45, predictor: 'level', marginShare: 0.1 },
    ahead: { seconds: 5, cpu: 0.6, trust: 1 },
    aim: { utilisation: 0.6, basis: 'learned', objective: { kind: 'latency', percentile: 99, targetMs: 20 } },
    need: { cpu: 0.75, count: 1, heldCpu: 0.75, calmSeconds: 30 },
    options: [
      { count: 1, cpu: 0.75, costCores: 0.75, meets: true },
      { count: 2, cpu: 0.4, costCores: 0.9, meets: true },
    ],
    chosen: 0,
    before: shape(1, 0.5),
    after: shape(1, 0.5),
    notes: [],
    ...change,
  };
}
