import { shareOver } from './last-known.js';
import { bucketBounds } from './latency.js';

/**
 * Where the time of a component's requests goes, so that one that is slow for want of CPU is told from one that is slow
 * because those it calls are. All of it is measured: CPU time and the wait for a CPU by the scheduler, which the agent's
 * profiler adds up by instance (a cpu.max that is used up counts as such a wait), and what callees take by the callees.
 */
export interface TimeUse {
  /** A request on average, ms; the parts need not add up to it: some overlap, and some is neither. */
  meanMs: number;
  cpuMs: number;
  /** It could have run, and had no CPU. */
  cpuWaitMs: number;
  /** Its callees worked on its calls, as if one came after the other. */
  calleesMs: number;
  /** The callee that took most of it; absent where there is none, or where decisions are older than that it is known. */
  slowest?: CalleeTime;
}

/** Calls of one component that one request makes. */
export interface CalleeTime {
  callee: string;
  ms: number;
}

/** Rates of late. Plain data, changed in place. */
export interface TimeModel {
  /** Of the seconds looked back on; 0 before any. */
  weight: number;
  /** Cores, cores waited for, requests a second. */
  cpu: number;
  cpuWait: number;
  finished: number;
}

/** What makes requests slow where it can be told. */
export type SlowCause = 'cpu' | 'callees';

/** As long as latency is looked back on. */
const windowShare = shareOver(10);
const WEIGHT_MIN = 0.3;
/** Fewer in a second say little. */
const FINISHED_MIN = 1;
/** From these shares of the mean on something makes requests slow, or does not. */
const CPU_WAIT_SHARE = 0.3;
const CPU_WAIT_LITTLE = 0.1;
const CALLEES_SHARE = 0.5;

export function newTime(): TimeModel {
  return { weight: 0, cpu: 0, cpuWait: 0, finished: 0 };
}

/** `cpuWait`: null where some host does not tell; then nothing is known from here on until all do. */
export function learnTime(
  model: TimeModel,
  { cpu, cpuWait, finishedPerSecond }: { cpu: number; cpuWait: number | null; finishedPerSecond: number },
  seconds: number,
): void {
  if (cpuWait === null) {
    if (model.weight > 0) Object.assign(model, newTime());
    return;
  }
  const share = windowShare(seconds);
  model.weight += share * (1 - model.weight);
  model.cpu += share * (cpu - model.cpu);
  model.cpuWait += share * (cpuWait - model.cpuWait);
  model.finished += share * (finishedPerSecond - model.finished);
}

/** Whether enough is known to tell where the time goes. */
export function isTimeKnown({ weight, finished }: TimeModel): boolean {
  return weight >= WEIGHT_MIN && finished / weight >= FINISHED_MIN;
}

/** Null where too little is known. `meanMs`: of its requests; `callees`: what those they make take, by callee. */
export function timeUse(model: TimeModel, meanMs: number | null, callees: readonly CalleeTime[]): TimeUse | null {
  if (meanMs === null || !isTimeKnown(model)) return null;
  const { cpu, cpuWait, finished } = model;
  const perRequestMs = (rate: number) => (1_000 * rate) / finished;
  const use: TimeUse = { meanMs, cpuMs: perRequestMs(cpu), cpuWaitMs: perRequestMs(cpuWait), calleesMs: 0 };
  for (const each of callees) {
    use.calleesMs += each.ms;
    if (each.ms > (use.slowest?.ms ?? 0)) use.slowest = each;
  }
  return use;
}

/** Null: neither, or not known. */
export function slowCause(use: TimeUse | null | undefined): SlowCause | null {
  if (use === null || use === undefined) return null;
  const { meanMs, cpuWaitMs, calleesMs } = use;
  if (cpuWaitMs >= CPU_WAIT_SHARE * meanMs && cpuWaitMs > calleesMs) return 'cpu';
  return calleesMs >= CALLEES_SHARE * meanMs && cpuWaitMs < CPU_WAIT_LITTLE * meanMs ? 'callees' : null;
}

/** Of counts by latency bucket, each taken as in the middle of its bucket; null without any. */
export function meanMs(buckets: ArrayLike<number>): number | null {
  let calls = 0;
  let sum = 0;
  for (let i = 0; i < buckets.length; i += 1) {
    const count = buckets[i] as number;
    if (!(count > 0)) continue;
    const { lower, upper } = bucketBounds(i);
    calls += count;
    sum += (count * (lower + upper)) / 2;
  }
  return calls > 0 ? sum / calls : null;
}
