import type { Size } from '../../protocol/link.js';
import type { StartAhead } from './start-time.js';
import type { TimeUse } from './time-use.js';

/**
 * Why a component got the count and size that it got: numbers and codes only, so that a tick may make thousands of them.
 * `explanation-words.ts` says the same for people. CPU is in cores, times in seconds unless the name says otherwise.
 */
export interface Explanation {
  atMs: number;
  seen: SeenFacts;
  learned: LearnedFacts;
  demand: DemandFacts;
  /** What the forecast says of the time that a new instance needs; null without a forecast. */
  ahead: AheadFacts | null;
  aim: AimFacts;
  need: NeedFacts;
  /** What was weighed, the chosen one among them. Empty where there was nothing to choose. */
  options: Option[];
  /** Index into `options`; -1 when empty. */
  chosen: number;
  before: { count: number; size: Size };
  after: { count: number; size: Size };
  notes: Note[];
}

export interface SeenFacts {
  usedCpu: number;
  allottedCpu: number;
  arrivedPerSecond: number;
  finishedPerSecond: number;
  /** Calls that run or wait. */
  outstanding: number;
  /** At the percentile of the objective; null without calls. */
  latencyMs: number | null;
  /** Absent where it is not known. */
  time?: TimeUse;
}

export interface LearnedFacts {
  /** CPU-seconds of one request; null before any. */
  costCpu: number | null;
  /** Cores that one instance burns without any request. */
  idleCpu: number;
  /** Latency at the objective's percentile without any waiting for CPU; null before it is known. */
  unqueuedMs: number | null;
  /** How long a new instance takes until it serves; absent where decisions are older than that it is learned. */
  start?: StartAhead;
}

/** Where the demand was read from. `saturated`: all that is allotted is used, so the true demand is unknown. */
export type DemandBasis = 'used' | 'arrivals' | 'saturated' | 'unknown';
/** Who foretells the next tick. `reactive`: what is there now, with the margin. */
export type Predictor = 'level' | 'last' | 'trend' | 'forecast';

export interface DemandFacts {
  /** What arrives, in cores, whether served or not. */
  cpu: number;
  basis: DemandBasis;
  /** Part of `cpu` that works off calls which wait already. */
  backlogCpu: number;
  /** Expected until the next decision takes hold, margin included. */
  nextCpu: number;
  predictor: Predictor;
  /** Share of the prediction that is added for what it has recently missed. */
  marginShare: number;
}

export interface AheadFacts {
  seconds: number;
  /** The upper bound that is provisioned for. */
  cpu: number;
  /** 0: not believed; 1: in full. */
  trust: number;
}

/**
 * Where the utilisation aimed at comes from: the manifest; the rule for queues; the learned latency curve; a default
 * before any latency is known; less than now, since the objective is missed; a default, since waiting for CPU is not
 * what makes it slow.
 */
export type AimBasis = 'target' | 'queue' | 'learned' | 'unknown' | 'missed' | 'not-cpu';

export interface AimFacts {
  utilisation: number;
  basis: AimBasis;
  objective: { kind: 'utilisation' | 'queue' } | { kind: 'latency'; percentile: number; targetMs: number };
}

export interface NeedFacts {
  /** Cores for the objective now. */
  cpu: number;
  /** Instances for the objective whatever their size. */
  count: number;
  /** The highest need that still holds, at least `cpu`. */
  heldCpu: number;
  /** For how long the past holds. */
  calmSeconds: number;
}

export interface Option {
  count: number;
  /** Of each instance. */
  cpu: number;
  /** Held by the option, plus its moves spread over the time they must pay for themselves in. */
  costCores: number;
  meets: boolean;
}

/** What bent the plan, most decisive first. */
export type Note =
  | 'idle'
  | 'lost-metrics'
  | 'burst'
  | 'saturated'
  | 'calm'
  | 'not-cpu'
  | 'slow-callees'
  | 'cpu-wait'
  | 'count-max'
  | 'count-min'
  | 'size-max'
  | 'budget'
  | 'capacity';
