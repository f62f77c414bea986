import type { InstanceView } from '../../protocol/http.js';
import type { Sample } from '../../protocol/link.js';
import { type Paint, PLAIN } from './paint.js';
import { type Column, renderTable } from './table.js';
import { formatBytes, formatPercent, formatRate } from './units.js';

const COUNTERS = [
  'cpuSeconds',
  'runDelaySeconds',
  'faultsMinor',
  'faultsMajor',
  'systemCalls',
  'ioOperations',
  'ioReadBytes',
  'ioWriteBytes',
  'sentBytes',
  'receivedBytes',
  'retransmits',
  'connects',
] as const satisfies readonly (keyof Sample)[];

/** What the instances of a component do each second; absent is what none of their hosts counts. */
export interface ComponentActivity {
  component: string;
  perSecond: Partial<Record<(typeof COUNTERS)[number], number>>;
}

/** Between two looks, from the instances that were there in both. Empty when none was. */
export function activityBetween(
  before: readonly InstanceView[],
  after: readonly InstanceView[],
  seconds: number,
): ComponentActivity[] {
  const known = new Map(before.map((each) => [each.id, each]));
  const components = new Map<string, ComponentActivity['perSecond']>();
  for (const { id, app, component, restarts, sample } of after) {
    const earlier = known.get(id);
    if (sample === undefined || earlier?.sample === undefined || earlier.restarts !== restarts) continue;
    const name = `${app}/${component}`;
    const sums = components.get(name) ?? {};
    components.set(name, sums);
    for (const counter of COUNTERS) {
      const more = (sample[counter] ?? Number.NaN) - (earlier.sample[counter] ?? Number.NaN);
      if (more >= 0) sums[counter] = (sums[counter] ?? 0) + more / seconds;
    }
  }
  return [...components].map(([component, perSecond]) => ({ component, perSecond }));
}

/** A line for each component: how long it waits for a CPU, and what it does besides running. */
export function renderActivity(list: readonly ComponentActivity[], width: number, paint: Paint = PLAIN): string[] {
  const rate = (value: number | undefined) => (value === undefined ? '-' : formatRate(value));
  const bytes = (value: number | undefined) => (value === undefined ? '-' : formatBytes(Math.round(value)));
  const column = (
    title: string,
    value: (each: ComponentActivity['perSecond']) => string,
  ): Column<ComponentActivity> => ({
    title,
    value: ({ perSecond }) => value(perSecond),
    align: 'right',
  });
  const columns: Column<ComponentActivity>[] = [
    { title: 'EACH SECOND', value: ({ component }) => component },
    {
      ...column('CPU WAIT', waitShare),
      paint: (text, { perSecond }) => ((waitShareOf(perSecond) ?? 0) > WAIT_SHARE_HIGH ? paint.red(text) : text),
    },
    column('FAULTS', (each) => rate(each.faultsMinor)),
    column('FROM DISK', (each) => rate(each.faultsMajor)),
    column('SYSTEM CALLS', (each) => rate(each.systemCalls)),
    column('BLOCK I/O', (each) => rate(each.ioOperations)),
    column('READ', (each) => bytes(each.ioReadBytes)),
    column('WRITTEN', (each) => bytes(each.ioWriteBytes)),
    column('SENT', (each) => bytes(each.sentBytes)),
    column('RECEIVED', (each) => bytes(each.receivedBytes)),
    column('SENT AGAIN', (each) => rate(each.retransmits)),
    column('CONNECTS', (each) => rate(each.connects)),
  ];
  const isCounted = ({ perSecond }: ComponentActivity) => perSecond.systemCalls !== undefined;
  const shown = list.some(isCounted) ? columns : columns.filter(({ title }) => title !== 'SYSTEM CALLS');
  return renderTable(list, shown, { width, paint });
}

/** From here on the wait for a CPU is seen in how long calls take. */
const WAIT_SHARE_HIGH = 0.2;

function waitShareOf({ cpuSeconds = 0, runDelaySeconds }: ComponentActivity['perSecond']): number | undefined {
  if (runDelaySeconds === undefined) return undefined;
  const wanted = cpuSeconds + runDelaySeconds;
  return wanted === 0 ? 0 : runDelaySeconds / wanted;
}

function waitShare(each: ComponentActivity['perSecond']): string {
  const share = waitShareOf(each);
  return share === undefined ? '-' : formatPercent(share);
}
