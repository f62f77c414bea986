import type { Answer } from './load.js';
import { quantile, type Recorder } from './recorder.js';

export interface Outcome {
  documents: number;
  answers: readonly Answer[];
  failures: readonly string[];
  objectiveMs: number;
  /** Searches whose answer was compared with grep's, and those that differed. */
  compared: number;
  different: readonly string[];
  decisionToServingMs: readonly number[];
  recorder: Recorder;
  components: readonly string[];
  /** Documents that the index held at the end. */
  documentsAtEnd: number;
}

const BARS = '▁▂▃▄▅▆▇█';
const COLUMNS = 72;

/** The report at the end, one line each. */
export function renderReport(outcome: Outcome): string[] {
  const { answers, recorder, decisionToServingMs: took } = outcome;
  const latencies = answers.filter((each) => each.ok).map((each) => each.latencyMs);
  const seconds = violations(answers, outcome.objectiveMs);
  const { allotted, used, fixed } = recorder.cpuSeconds();
  const ms = (value: number) => (Number.isNaN(value) ? '-' : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
  const lines = [
    '',
    `documents              ${outcome.documents} indexed, ${outcome.documentsAtEnd} there at the end`,
    `requests               ${answers.length}, ${outcome.failures.length} failed`,
    `latency                p50 ${ms(quantile(latencies, 0.5))}, p99 ${ms(quantile(latencies, 0.99))}`,
    `objective              p99 of ${outcome.objectiveMs} ms missed in ${seconds.missed} of ${seconds.all} seconds`,
    `answers equal to grep  ${outcome.compared - outcome.different.length} of ${outcome.compared}`,
    `decision to serving    p50 ${ms(quantile(took, 0.5))}, p99 ${ms(quantile(took, 0.99))} (${took.length} instances)`,
    `CPU-seconds            ${allotted.toFixed(0)} allotted, ${used.toFixed(0)} used; ${fixed.toFixed(0)} by a fixed allotment of the peak (${share(allotted, fixed)})`,
    '',
  ];
  for (const name of outcome.components) {
    const counts = recorder.series(name, (view) => view.count.ready);
    const cores = recorder.series(name, (view) => view.size.cpu * view.count.desired);
    const demand = recorder.series(name, (view) => view.demandCpu);
    const ahead = recorder.series(name, (view) =>
      Math.max(0, ...(view.forecast?.points ?? []).map((each) => each.upper)),
    );
    const top = Math.max(...cores, ...demand, 0.01);
    lines.push(
      `${name}: instances ${range(counts)}, cores allotted ${range(cores)}`,
      `  instances  ${spark(counts, Math.max(...counts, 1))}`,
      `  allotted   ${spark(cores, top)}`,
      `  forecast   ${spark(ahead, top)}`,
      `  demand     ${spark(demand, top)}`,
    );
  }
  return lines;
}

/** What of the outcome is wrong; empty when the run worked. */
export function faultsOf(outcome: Outcome): string[] {
  const faults: string[] = [];
  const { answers, failures, different, recorder, components } = outcome;
  if (outcome.documentsAtEnd !== outcome.documents) faults.push('documents were lost');
  if (outcome.compared === 0 || different.length > 0)
    faults.push(`answers differ from grep's: ${different.join('; ')}`);
  if (answers.length === 0 || failures.length > answers.length / 1000) {
    faults.push(
      `${failures.length} of ${answers.length} requests failed, for example: ${failures.slice(0, 3).join('; ')}`,
    );
  }
  const reshaped = components.some((name) => {
    const counts = recorder.series(name, (view) => view.count.ready);
    return grew(counts) && grew(counts.toReversed());
  });
  if (!reshaped) faults.push('no component grew and shrank');
  const resized = components.some((name) => new Set(recorder.series(name, (view) => view.size.cpu)).size > 1);
  if (!resized) faults.push('no component was resized');
  return faults;
}

/** Seconds in which the 99th percentile was above the objective. */
export function violations(answers: readonly Answer[], objectiveMs: number): { missed: number; all: number } {
  const bySecond = new Map<number, number[]>();
  for (const { dueMs, latencyMs } of answers) {
    const second = Math.floor(dueMs / 1000);
    bySecond.set(second, [...(bySecond.get(second) ?? []), latencyMs]);
  }
  const missed = [...bySecond.values()].filter((latencies) => quantile(latencies, 0.99) > objectiveMs).length;
  return { missed, all: bySecond.size };
}

function grew(counts: readonly number[]): boolean {
  let least = Number.POSITIVE_INFINITY;
  for (const count of counts) {
    if (count > least) return true;
    least = Math.min(least, count);
  }
  return false;
}

function range(values: readonly number[]): string {
  const text = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(2));
  return values.length === 0 ? '-' : `${text(Math.min(...values))} to ${text(Math.max(...values))}`;
}

/** The values as bars, the highest of each column. */
function spark(values: readonly number[], top: number): string {
  const columns = Math.min(COLUMNS, values.length);
  return Array.from({ length: columns }, (_, i) => {
    const from = Math.floor((i * values.length) / columns);
    const to = Math.max(from + 1, Math.floor(((i + 1) * values.length) / columns));
    const share = Math.max(...values.slice(from, to)) / top;
    return share <= 0 ? ' ' : BARS[Math.min(BARS.length - 1, Math.floor(share * BARS.length))];
  }).join('');
}

function share(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(0)} %` : '-';
}
