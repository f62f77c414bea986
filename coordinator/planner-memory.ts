import { type ComponentModel, newModel } from './brain/component-model.js';
import { type Demand, NO_DEMAND } from './brain/demand.js';
import type { Explanation } from './brain/explanation.js';
import { newRow, readRow } from './brain/explanation-row.js';
import { summary } from './brain/explanation-words.js';
import { createDemandForecaster, type DemandForecaster } from './brain/forecast/index.js';
import { type ForecastAccuracy, newAccuracy } from './brain/forecast-accuracy.js';
import type { Held } from './brain/held.js';
import type { LatencyWindow } from './brain/latency-window.js';
import { leadSecondsOf, newHistory, type PlanHistory } from './brain/sharding.js';
import { NEW_STARTS, startAhead } from './brain/start-time.js';
import { newTime, type TimeModel } from './brain/time-use.js';
import { createLatencyWindow } from './intake.js';
import { newRefusedResize, type RefusedResize } from './refused-resize.js';

/**
 * What the planner remembers of each component between two seconds, by component key; changed in place, since there are
 * thousands of them. What was learned is stored by learned.ts, the rest is seen anew after a restart.
 */
export type PlannerMemory = Map<string, ComponentMemory>;

export interface ComponentMemory {
  /** The season in the component's manifest entry and the length of a tick that the forecaster was made for. */
  seasonSeconds: number;
  stepSeconds: number;
  forecaster: DemandForecaster;
  /** Of its forecasts. */
  accuracy: ForecastAccuracy;
  history: PlanHistory;
  model: ComponentModel;
  /** The last decision, as a row of brain/explanation-row.ts; an empty one before the first. */
  decision: Float64Array;
  demand: Demand;
  latencies: LatencyWindow;
  /** Where the time of its requests goes. */
  time: TimeModel;
  /** When an instance asked in vain for this component; keeps it from staying at zero. */
  calledInVainMs: number | null;
  refused: RefusedResize;
  /** How many processes were to wait lately, on each host. */
  pool: Held;
}

/** How the planner's clock goes. */
export interface Pace {
  /** Length of a tick. */
  stepSeconds: number;
}

export function newMemory(seasonSeconds: number, { stepSeconds }: Pace): ComponentMemory {
  return {
    seasonSeconds,
    stepSeconds,
    forecaster: createDemandForecaster({ seasonSeconds, stepSeconds }),
    accuracy: newAccuracy(Math.ceil(leadSecondsOf(startAhead(NEW_STARTS, 0), stepSeconds) / stepSeconds)),
    history: newHistory(),
    model: newModel(),
    decision: newRow(),
    demand: { ...NO_DEMAND },
    latencies: createLatencyWindow(stepSeconds),
    time: newTime(),
    calledInVainMs: null,
    refused: newRefusedResize(),
    pool: [],
  };
}

/** With a new forecaster where the season or the length of a tick is another one than it was made for. */
export function keepPace(memory: ComponentMemory, seasonSeconds: number, pace: Pace): void {
  if (memory.seasonSeconds === seasonSeconds && memory.stepSeconds === pace.stepSeconds) return;
  const { forecaster, accuracy, latencies, stepSeconds } = newMemory(seasonSeconds, pace);
  Object.assign(memory, { seasonSeconds, stepSeconds, forecaster, accuracy, latencies });
}

/** Notes that a component without instances was called. */
export function noteCalledInVain(memory: PlannerMemory, key: string, nowMs: number): void {
  const known = memory.get(key);
  if (known !== undefined) known.calledInVainMs = nowMs;
}

/** Why the component got what it has; null before the first decision. */
export function explanationOf(memory: ComponentMemory | undefined): Explanation | null {
  return memory === undefined ? null : readRow(memory.decision);
}

/** One line for people on the last decision; made only when asked. */
export function reasonOf(memory: ComponentMemory | undefined): string {
  const explanation = explanationOf(memory);
  return explanation === null ? 'waiting for the first samples' : summary(explanation);
}
