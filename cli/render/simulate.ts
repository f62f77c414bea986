import type { ComponentFigures, MinuteRow } from '../../coordinator/simulator/recorder.js';
import type { Paint } from './paint.js';
import { type Column, renderTable } from './table.js';

/** What one policy made of the trace. */
export interface SimulatedRun {
  policy: string;
  seed: number;
  engine: 'flow' | 'events';
  startSeconds: { p50: number; p99: number };
  components: ComponentFigures[];
  /** Minute by minute, of each component. */
  rows: MinuteRow[][];
}

type Line = ComponentFigures & { policy: string };

const right = (title: string, value: (line: Line) => string): Column<Line> => ({ title, value, align: 'right' });
const ms = (value: number | null) => (value === null ? '-' : value < 1000 ? value.toFixed(1) : value.toFixed(0));

const COLUMNS: Column<Line>[] = [
  { title: 'POLICY', value: ({ policy }) => policy },
  { title: 'COMPONENT', value: ({ component }) => component },
  right('MISSED MIN', ({ missedMinutes, minutes }) => `${missedMinutes}/${minutes}`),
  right('MISSED %', ({ missedShare }) => (100 * missedShare).toFixed(2)),
  right('P50 ms', ({ p50Ms }) => ms(p50Ms)),
  right('P99 ms', ({ p99Ms }) => ms(p99Ms)),
  right('CPU h', ({ allottedCpuHours }) => allottedCpuHours.toFixed(1)),
  right('NEEDED', ({ neededCpuHours }) => neededCpuHours.toFixed(1)),
  right('RATIO', ({ costRatio }) => costRatio.toFixed(3)),
  right('UNDER %', ({ elasticity }) => elasticity.accuracyUnder.toFixed(2)),
  right('OVER %', ({ elasticity }) => elasticity.accuracyOver.toFixed(1)),
  right('T UNDER %', ({ elasticity }) => elasticity.timeShareUnder.toFixed(2)),
  right('T OVER %', ({ elasticity }) => elasticity.timeShareOver.toFixed(1)),
  right('JITTER/h', ({ elasticity }) => elasticity.jitterPerHour.toFixed(2)),
  right('STARTS', ({ moves }) => String(moves.created)),
  right('ENDS', ({ moves }) => String(moves.ended)),
  right('RESIZES', ({ moves }) => String(moves.resized)),
];

export function renderSimulations(runs: readonly SimulatedRun[], width: number, paint: Paint): string[] {
  const lines = runs.flatMap(({ policy, components }) => components.map((each): Line => ({ ...each, policy })));
  const goals = new Map(lines.map(({ component, goal }) => [component, goal]));
  const told = [...goals].map(([name, { percentile, targetMs }]) => `${name}: p${percentile} under ${ms(targetMs)} ms`);
  const engines = [
    ...new Set(runs.map(({ engine }) => (engine === 'flow' ? 'formulas for each second' : 'request by request'))),
  ];
  return [
    ...renderTable(lines, COLUMNS, { width, paint }),
    '',
    `Objective: ${told.join('; ')}. Simulated: ${engines.join(', ')}.`,
  ];
}
