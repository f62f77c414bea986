import type { ForecastView } from '../../protocol/http.js';
import { demandBar, sparkline } from './bars.js';
import { type Paint, PLAIN } from './paint.js';
import { renderTable } from './table.js';
import { clean, cut } from './text.js';
import { formatClock, formatCores, formatPercent } from './units.js';

const ROWS_MAX = 20;
const BAR_COLUMNS = 30;

/** A forecast as a curve and a table of at most 20 of its points, evenly chosen, the last always among them. */
export function renderForecast(name: string, view: ForecastView, width: number, paint: Paint = PLAIN): string[] {
  const heading = paint.bold(cut(clean(`${name}: next ${view.horizonSeconds} s, model ${view.model}`), width));
  const { points } = view;
  if (points.length === 0) return [heading, 'no forecast yet: too few samples'];
  const max = Math.max(0.01, ...points.map((point) => point.upper));
  const table = renderTable(
    thin(points, ROWS_MAX),
    [
      { title: 'AT', value: (point) => formatClock(point.atMs) },
      { title: 'CORES', value: (point) => formatCores(point.mean), align: 'right' },
      { title: 'FROM', value: (point) => formatCores(point.lower), align: 'right' },
      { title: 'TO', value: (point) => formatCores(point.upper), align: 'right' },
      {
        title: 'MEAN AND UPPER BOUND',
        value: (point) => demandBar({ demand: point.mean, forecast: point.upper, allotted: 0 }, max, BAR_COLUMNS),
        paint: (text) => paint.cyan(text),
      },
    ],
    { width, paint },
  );
  const means = thin(points, width).map((point) => point.mean);
  const accuracy = accuracyLines(view).map((line) => paint.dim(cut(line, width)));
  return [heading, paint.cyan(sparkline(means, width)), '', ...table, '', ...accuracy];
}

/** How right it was of late. */
function accuracyLines({ accuracy, level }: ForecastView): string[] {
  return [accuracy.step, accuracy.lead].map(({ aheadSeconds, compared, errorCpu, demandCpu, coverage }) => {
    const ahead = `${aheadSeconds} s ahead`;
    if (compared === 0) return `${ahead}: nothing to compare yet`;
    const error = `wrong by ${formatCores(errorCpu)} of ${formatCores(demandCpu)} cores on average`;
    return `${ahead}: ${error}; ${formatPercent(coverage)} of the demands within FROM and TO, ${formatPercent(level)} promised`;
  });
}

/** At most `max` of the values, evenly spaced, the last among them. */
export function thin<T>(values: readonly T[], max: number): T[] {
  if (values.length <= max) return [...values];
  const step = values.length / max;
  return Array.from({ length: max }, (_, at) => values[Math.ceil((at + 1) * step) - 1]).filter(
    (value) => value !== undefined,
  );
}
