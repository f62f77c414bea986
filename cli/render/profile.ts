import type { HotFunctionsView } from '../../protocol/http.js';
import { type Paint, PLAIN } from './paint.js';
import { type Column, renderTable } from './table.js';
import { clean } from './text.js';
import { formatMs } from './units.js';

type Hot = HotFunctionsView['functions'][number];

export interface HotOptions {
  width?: number;
  paint?: Paint;
  /** Functions at most. */
  most?: number;
  /** Whether the view compares two spans. */
  compared?: boolean;
}

/** The functions in which most time is spent: shares of all the time, and the time itself. */
export function renderHotFunctions(view: HotFunctionsView, options: HotOptions = {}): string[] {
  const {
    width = Number.POSITIVE_INFINITY,
    paint = PLAIN,
    most = Number.POSITIVE_INFINITY,
    compared = false,
  } = options;
  const all = view.functions.reduce((sum, each) => sum + each.selfSeconds, 0);
  const baseAll = view.functions.reduce((sum, each) => sum + each.baseSelfSeconds, 0);
  const before: Column<Hot> = {
    title: 'BEFORE',
    value: (each) => share(each.baseSelfSeconds, baseAll),
    align: 'right',
  };
  if (view.kind !== 'cpu' && view.kind !== 'off-cpu') return renderCounts(view, { width, paint, most });
  const columns: Column<Hot>[] = [
    { title: 'SELF', value: (each) => share(each.selfSeconds, all), align: 'right', paint: (text) => paint.bold(text) },
    ...(compared ? [before] : []),
    { title: 'TOTAL', value: (each) => share(each.totalSeconds, all), align: 'right' },
    { title: 'TIME', value: (each) => formatMs(each.selfSeconds * 1_000), align: 'right' },
    { title: 'IN', value: (each) => each.file, paint: (text) => paint.dim(text) },
    { title: 'FUNCTION', value: (each) => each.name },
  ];
  const hot = view.functions.slice(0, most);
  if (hot.length === 0) return [view.kind === 'cpu' ? 'no CPU time was sampled' : 'no waiting was seen'];
  return renderTable(hot, columns, { width, paint });
}

/** What was counted rather than sampled: how often, and how long it took where that is known. */
function renderCounts(
  view: HotFunctionsView,
  { width, paint, most }: Required<Omit<HotOptions, 'compared'>>,
): string[] {
  const time = ({ selfSeconds }: Hot) => (selfSeconds === 0 ? '-' : formatMs(selfSeconds * 1_000));
  const columns: Column<Hot>[] = [
    { title: 'COUNT', value: ({ count }) => String(count), align: 'right', paint: (text) => paint.bold(text) },
    { title: 'TIME', value: time, align: 'right' },
    { title: 'WHAT', value: ({ file }) => file, paint: (text) => paint.dim(text) },
    { title: 'NAME', value: ({ name }) => name },
  ];
  const counted = view.functions.slice(0, most);
  if (counted.length === 0) return ['none was counted'];
  return renderTable(counted, columns, { width, paint });
}

/** What a reader has to know of a profile that is not whole. */
export function profileCaveats({
  lost,
  missing,
  notes = [],
}: Pick<HotFunctionsView, 'lost' | 'missing' | 'notes'>): string[] {
  const away = missing.map(({ host, why }) => `host ${host} is not in it: ${why}`);
  return [...(lost > 0 ? [`${lost} samples were lost`] : []), ...notes.map(clean), ...away];
}

function share(part: number, all: number): string {
  return all > 0 ? `${((100 * part) / all).toFixed(1)}%` : '-';
}
