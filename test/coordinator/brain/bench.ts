import { type ComponentModel, newModel } from '../../../coordinator/brain/component-model.js';
import type { Explanation } from '../../../coordinator/brain/explanation.js';
import { newRow, readRow } from '../../../coordinator/brain/explanation-row.js';
import { type Seen, type Sensed, sense } from '../../../coordinator/brain/sense.js';
import {
  leadSecondsOf,
  learnForecast,
  newHistory,
  noteNeeds,
  type Plan,
  type PlanHistory,
  type PlanInput,
  planComponent,
} from '../../../coordinator/brain/sharding.js';
import type { Component } from '../../../protocol/manifest.js';

export const MIB = 2 ** 20;

export const COMPONENT: Component = {
  source: { kind: 'image', image: 'x' },
  command: [],
  env: {},
  count: { min: 1, max: 10 },
  size: { cpu: { min: 0.1, max: 1 }, memory: { min: 64 * MIB, max: 512 * MIB } },
  objective: { kind: 'utilisation', target: 0.5 },
  state: 'none',
  calls: [],
  ports: [],
};

/** What a tick shows; the rest follows from it. */
export type Sight = Partial<
  Pick<Seen, 'usedCpu' | 'arrivedPerSecond' | 'finishedPerSecond' | 'outstanding' | 'latencyMs'>
> &
  Partial<Omit<PlanInput, 'seen' | 'sensed' | 'component' | 'history' | 'start'>> & {
    ready?: { count: number; cpu: number };
    startSeconds?: number;
  };

/** A plan beside what it says of itself. */
export interface ExplainedPlan extends Plan {
  explanation: Explanation;
}

/** One component, planned once a second, each plan carried out at once unless told otherwise. */
export class PlanBench {
  nowMs = 1_000_000;
  current = { count: 1, size: { cpu: 0.1, memory: 64 * MIB } };
  model: ComponentModel = newModel();
  history: PlanHistory = newHistory();
  sensed: Sensed | undefined;
  /** Written over each second, as the planner does. */
  why = newRow();
  readonly component: Component;

  constructor(change: Partial<Component> = {}, current?: { count: number; cpu: number }) {
    this.component = { ...COMPONENT, ...change };
    if (current !== undefined) this.current = { count: current.count, size: { cpu: current.cpu, memory: 64 * MIB } };
  }

  /** A second passes in which this is seen. One request a second is served unless told. */
  tick(sight: Sight = {}): ExplainedPlan {
    this.nowMs += 1_000;
    const { usedCpu = 0, outstanding = 0, latencyMs = null, arrivedPerSecond = 1, ...rest } = sight;
    const { finishedPerSecond = arrivedPerSecond, ready, startSeconds = 1, ...planning } = rest;
    const { component, nowMs, current } = this;
    const seen: Seen = {
      component,
      nowMs,
      stepSeconds: 1,
      usedCpu,
      arrivedPerSecond,
      finishedPerSecond,
      outstanding,
      latencyMs,
      ready: ready ?? { count: current.count, cpu: current.count * current.size.cpu },
    };
    this.sensed = sense(this.model, seen);
    const input: PlanInput = {
      component,
      nowMs,
      seen,
      sensed: this.sensed,
      current,
      memoryUsedMax: 0,
      history: this.history,
      start: { seconds: startSeconds, kind: 'warm', seen: 10 },
      ...planning,
    };
    const { forecast } = input;
    const { demandCpu } = this.sensed;
    if (forecast !== undefined) {
      const leadSeconds = leadSecondsOf(input.start, 1);
      learnForecast(this.model, forecast, { component, stepSeconds: 1, demandCpu, leadSeconds });
    }
    const plan = planComponent(input, this.why);
    noteNeeds(this.history, plan, input);
    this.current = { count: plan.count, size: plan.size };
    return { ...plan, explanation: readRow(plan.why) as Explanation };
  }

  run(seconds: number, at: (second: number) => Sight): ExplainedPlan[] {
    return Array.from({ length: seconds }, (_, second) => this.tick(at(second)));
  }

  /** As after a change of coordinator with all that is stored. */
  restart(): void {
    this.model = JSON.parse(JSON.stringify(this.model)) as ComponentModel;
    this.history = JSON.parse(JSON.stringify(this.history)) as PlanHistory;
  }
}

export function allotted({ count, size }: { count: number; size: { cpu: number } }): number {
  return count * size.cpu;
}
