import type { Explanation } from '../../../coordinator/brain/explanation.js';
import {
  AIM_BASES,
  AT,
  bitOf,
  DEMAND_BASES,
  OBJECTIVES,
  PREDICTORS,
  type Row,
  START_KINDS,
  writeOption,
  writeShape,
  writeTime,
  writeWord,
} from '../../../coordinator/brain/explanation-row.js';

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

/** Writes any explanation, as a plan writes its own. */
export function writeRow(explanation: Explanation, row: Row): void {
  const { seen, learned, demand, ahead, aim, need, options, notes } = explanation;
  row.fill(Number.NaN);
  row[AT.atMs] = explanation.atMs;
  row[AT.usedCpu] = seen.usedCpu;
  row[AT.allottedCpu] = seen.allottedCpu;
  row[AT.arrivedPerSecond] = seen.arrivedPerSecond;
  row[AT.finishedPerSecond] = seen.finishedPerSecond;
  row[AT.outstanding] = seen.outstanding;
  row[AT.latencyMs] = seen.latencyMs ?? Number.NaN;
  writeTime(row, seen.time);
  row[AT.costCpu] = learned.costCpu ?? Number.NaN;
  row[AT.idleCpu] = learned.idleCpu;
  row[AT.unqueuedMs] = learned.unqueuedMs ?? Number.NaN;
  if (learned.start !== undefined) {
    row[AT.startSeconds] = learned.start.seconds;
    writeWord(row, AT.startKind, START_KINDS, learned.start.kind);
    row[AT.startSeen] = learned.start.seen;
  }
  row[AT.demandCpu] = demand.cpu;
  writeWord(row, AT.demandBasis, DEMAND_BASES, demand.basis);
  row[AT.backlogCpu] = demand.backlogCpu;
  row[AT.nextCpu] = demand.nextCpu;
  writeWord(row, AT.predictor, PREDICTORS, demand.predictor);
  row[AT.marginShare] = demand.marginShare;
  if (ahead !== null) {
    row[AT.aheadSeconds] = ahead.seconds;
    row[AT.aheadCpu] = ahead.cpu;
    row[AT.trust] = ahead.trust;
  }
  row[AT.utilisation] = aim.utilisation;
  writeWord(row, AT.aimBasis, AIM_BASES, aim.basis);
  writeWord(row, AT.objective, OBJECTIVES, aim.objective.kind);
  if (aim.objective.kind === 'latency') {
    row[AT.percentile] = aim.objective.percentile;
    row[AT.targetMs] = aim.objective.targetMs;
  }
  row[AT.needCpu] = need.cpu;
  row[AT.needCount] = need.count;
  row[AT.heldCpu] = need.heldCpu;
  row[AT.calmSeconds] = need.calmSeconds;
  row[AT.notes] = notes.reduce((bits, note) => bits | bitOf(note), 0);
  row[AT.chosen] = explanation.chosen;
  row[AT.optionCount] = 0;
  for (const [i, { count, cpu, costCores, meets }] of options.entries())
    writeOption(row, i, count, cpu, costCores, meets);
  writeShape(row, AT.before, explanation.before);
  writeShape(row, AT.after, explanation.after);
}
