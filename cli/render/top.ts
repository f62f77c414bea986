import type { ComponentView, EventView, HostView, HotFunctionsView, InstanceView } from '../../protocol/http.js';
import { type ComponentActivity, renderActivity } from './activity.js';
import { demandBar } from './bars.js';
import { type Paint, PLAIN } from './paint.js';
import { renderHotFunctions } from './profile.js';
import { type Column, renderTable } from './table.js';
import { clean, cut } from './text.js';
import { formatBytes, formatClock, formatCores, formatMs, formatPercent, formatRate } from './units.js';

/** All that a frame shows, as plain data. */
export interface TopView {
  /** Where it comes from, such as the server's address. */
  title: string;
  /** Milliseconds since the epoch. */
  atMs: number;
  hosts: readonly HostView[];
  components: readonly ComponentView[];
  instances: readonly InstanceView[];
  /** Oldest first; the last few are shown. */
  events: readonly EventView[];
  /** Of the one component that is shown; null or absent: more are shown, or it cannot be had. */
  functions?: HotFunctionsView | null;
  /** Since the frame before; absent in the first one, or where several apps are shown. */
  activity?: readonly ComponentActivity[];
}

export interface TopOptions {
  paint?: Paint;
  /** Lines at most; instances are left out first, then events. */
  height?: number;
}

const BAR_COLUMNS = 24;
const BAR_COLUMNS_MIN = 8;
const DEGRADED_COLUMNS = 40;
const EVENTS_SHOWN = 5;
const FUNCTIONS_SHOWN = 20;

/** One frame of the live view: hosts, components with demand and forecast, instances, last events. */
export function renderTop(
  view: TopView,
  width: number,
  { paint = PLAIN, height = Number.POSITIVE_INFINITY }: TopOptions = {},
): string[] {
  const shape = { width, paint };
  const top = [
    titleLine(view, width, paint),
    '',
    ...renderTable(view.hosts, hostColumns(paint), shape),
    '',
    ...renderTable(view.components, componentColumns(view, width, paint), shape),
    '',
    ...activityLines(view, shape),
    ...functionLines(view, shape),
  ];
  const events = view.events.slice(-EVENTS_SHOWN).map((event) => cut(eventLine(event), width));
  const tail = events.length > 0 ? ['', ...events.map((line) => paint.dim(line))] : [];
  const instances = renderTable(view.instances, instanceColumns(paint), shape);
  const room = Math.max(2, height - top.length - tail.length);
  return [...top, ...shorten(instances, room, width), ...tail].slice(0, height);
}

function activityLines({ activity = [] }: TopView, { width, paint }: { width: number; paint: Paint }): string[] {
  return activity.length === 0 ? [] : [...renderActivity(activity, width, paint), ''];
}

function functionLines({ functions = null }: TopView, shape: { width: number; paint: Paint }): string[] {
  if (functions === null) return [];
  return [...renderHotFunctions(functions, { ...shape, most: FUNCTIONS_SHOWN }), ''];
}

function titleLine(view: TopView, width: number, paint: Paint): string {
  const ready = view.instances.filter((each) => each.phase === 'ready').length;
  const counts = `${many(view.hosts.length, 'host')}, ${many(view.components.length, 'component')}, ${many(view.instances.length, 'instance')} (${ready} ready)`;
  return paint.bold(cut(`shoal  ${clean(view.title)}  ${formatClock(view.atMs)}  ${counts}`, width));
}

function many(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The first lines that fit, the last of them saying how many are missing. */
function shorten(lines: string[], room: number, width: number): string[] {
  if (lines.length <= room) return lines;
  const kept = lines.slice(0, room - 1);
  return [...kept, cut(`… and ${lines.length - kept.length} more`, width)];
}

/** One event on one line: time, kind, what it is about, message. */
export function eventLine(event: EventView): string {
  const about = event.instance || [event.app, event.component].filter((part) => part !== '').join('/') || '-';
  return clean(`${formatClock(event.atMs)}  ${event.kind}  ${about}  ${event.message}`);
}

/** `connected`, or what is wrong with it. */
export function linkText({ standing }: HostView): string {
  return standing.state === 'well' ? 'connected' : standing.state;
}

/** Columns of `shoal get hosts` and of the live view. */
export function hostColumns(paint: Paint): Column<HostView>[] {
  return [
    { title: 'HOST', value: (host) => host.name },
    {
      title: 'LINK',
      value: linkText,
      paint: (text, host) => (host.standing.state === 'well' ? paint.green(text) : paint.red(text)),
    },
    {
      title: 'USE',
      value: (host) => host.use,
      paint: (text, host) => (host.use === 'open' ? text : paint.yellow(text)),
    },
    { title: 'CORES', value: (host) => formatCores(host.cores), align: 'right' },
    { title: 'MEMORY', value: (host) => formatBytes(host.memoryBytes), align: 'right' },
    { title: 'INSTANCES', value: (host) => String(host.instances), align: 'right' },
    { title: 'KERNEL', value: (host) => host.kernel },
    {
      title: 'DEGRADED',
      value: degradedText,
      paint: (text, host) => (host.degraded.length > 0 ? paint.yellow(text) : text),
    },
  ];
}

/** The first of what the host lacks, and how many more; `shoal describe host` tells all. */
function degradedText({ degraded }: HostView): string {
  const [first, ...more] = degraded;
  if (first === undefined) return '-';
  return `${cut(clean(first.what), DEGRADED_COLUMNS)}${more.length > 0 ? ` and ${more.length} more` : ''}`;
}

function allotted(component: ComponentView): number {
  return component.count.ready * component.size.cpu;
}

/** Upper bound of the forecast at its horizon, in cores. */
export function forecastUpper(component: ComponentView): number | null {
  return component.forecast?.points.at(-1)?.upper ?? null;
}

/** Columns of the live view's components; the bars share one scale so that they can be compared. */
function componentColumns(view: TopView, width: number, paint: Paint): Column<ComponentView>[] {
  const reach = (each: ComponentView): number => Math.max(each.demandCpu, allotted(each), forecastUpper(each) ?? 0);
  const max = Math.max(0.01, ...view.components.map(reach));
  const barColumns = width >= 110 ? BAR_COLUMNS : BAR_COLUMNS_MIN;
  const demand: Column<ComponentView> = {
    title: 'DEMAND',
    value: (each) => {
      const values = { demand: each.demandCpu, forecast: forecastUpper(each) ?? 0, allotted: allotted(each) };
      return demandBar(values, max, barColumns);
    },
    paint: (text, each) => (each.utilisation > 0.9 ? paint.red(text) : paint.cyan(text)),
  };
  const [name, count, size, ...rest] = componentListColumns(view.components, paint);
  return [name, count, size, demand, ...rest].filter((column) => column !== undefined);
}

/** Columns of `shoal get components`. */
export function componentListColumns(components: readonly ComponentView[], paint: Paint): Column<ComponentView>[] {
  const wouldBe: Column<ComponentView> = {
    title: 'WOULD BE',
    value: (each) =>
      each.wouldBe === null ? '-' : `${each.wouldBe.count} × ${formatCores(each.wouldBe.size.cpu)} cpu`,
    paint: (text, each) => (each.wouldBe === null ? text : paint.yellow(text)),
  };
  return [
    { title: 'COMPONENT', value: (each) => `${each.app}/${each.component}` },
    {
      title: 'READY',
      value: ({ count, override }) =>
        `${count.ready}/${count.desired} of ${count.min}–${count.max}${override === null ? '' : ' (by hand)'}`,
      paint: (text, { count }) => (count.ready < count.desired ? paint.yellow(text) : paint.green(text)),
    },
    { title: 'SIZE', value: ({ size }) => `${formatCores(size.cpu)} cpu ${formatBytes(size.memory)}` },
    ...(components.some((each) => each.wouldBe !== null) ? [wouldBe] : []),
    { title: 'CORES', value: (each) => formatCores(each.demandCpu), align: 'right' },
    {
      title: 'FORECAST',
      value: (each) => {
        const upper = forecastUpper(each);
        return upper === null ? '-' : `≤${formatCores(upper)} in ${each.forecast?.horizonSeconds ?? 0}s`;
      },
    },
    { title: 'USED', value: (each) => formatPercent(each.utilisation), align: 'right' },
    { title: 'REQ/S', value: (each) => formatRate(each.requestsPerSecond), align: 'right' },
    { title: 'P99', value: (each) => (each.latencyMs === null ? '-' : formatMs(each.latencyMs.p99)), align: 'right' },
    { title: 'WHY', value: (each) => each.reason },
  ];
}

/** Columns of `shoal get instances` and of the live view. */
export function instanceColumns(paint: Paint): Column<InstanceView>[] {
  return [
    { title: 'INSTANCE', value: (each) => each.id },
    { title: 'HOST', value: (each) => each.host },
    {
      title: 'PHASE',
      value: (each) => (each.draining && each.phase === 'ready' ? 'draining' : each.phase),
      paint: (text, each) => {
        if (each.phase === 'failed' || each.phase === 'backoff') return paint.red(text);
        return each.phase === 'ready' && !each.draining ? paint.green(text) : paint.yellow(text);
      },
    },
    { title: 'SIZE', value: ({ size }) => `${formatCores(size.cpu)} cpu ${formatBytes(size.memory)}` },
    { title: 'CORES', value: (each) => formatCores(each.cpuUsed), align: 'right' },
    {
      title: 'MEMORY',
      value: (each) => (each.sample === undefined ? '-' : formatBytes(each.sample.memoryBytes)),
      align: 'right',
    },
    { title: 'WEIGHT', value: (each) => String(each.weight), align: 'right' },
    { title: 'SHARDS', value: (each) => String(each.shards.length), align: 'right' },
    { title: 'RESTARTS', value: (each) => String(each.restarts), align: 'right' },
    {
      title: 'START',
      value: (each) => (each.startMs === undefined ? '-' : formatMs(each.startMs)),
      align: 'right',
    },
    { title: 'LAST EXIT', value: (each) => exitText(each) },
  ];
}

/** How the instance's process last ended: "code 1", "signal 9 (reason)", "-". */
export function exitText({ exit }: Pick<InstanceView, 'exit'>): string {
  if (exit === undefined) return '-';
  if (exit.code !== null) return `code ${exit.code} (${exit.reason})`;
  return exit.signal === null ? exit.reason : `signal ${exit.signal} (${exit.reason})`;
}
