import type { OfflineForecast, OfflinePoint } from '../offline/forecast-file.js';
import { sparkline } from './bars.js';
import { type Paint, PLAIN } from './paint.js';
import { type Column, renderTable } from './table.js';
import { clean, cut } from './text.js';

/** Methods that are named; the rest hardly count. */
const NAMED_MAX = 4;

/** One series: its model, what it rests on, a curve, and a row for each step. */
export function renderOfflineForecast(forecast: OfflineForecast, width: number, paint: Paint = PLAIN): string[] {
  const { id, model, members, backtest, points } = forecast;
  const named = members
    .slice(0, NAMED_MAX)
    .map(({ name, weight }) => `${name} ${Math.round(100 * weight)} %`)
    .join(', ');
  const tried =
    backtest.error === null
      ? 'too few values for a backtest: all methods count the same'
      : `backtest: ${backtest.origins} × ${backtest.steps} steps, mean absolute error ${format(backtest.error)}`;
  const column = (title: string, value: (point: OfflinePoint) => string): Column<OfflinePoint> => ({
    title,
    value,
    align: 'right',
  });
  const bounds = (points[0]?.intervals ?? []).flatMap(({ level }, at) => [
    column(`${level} % FROM`, ({ intervals }) => format(intervals[at]?.lower ?? Number.NaN)),
    column('TO', ({ intervals }) => format(intervals[at]?.upper ?? Number.NaN)),
  ]);
  const when = column(points[0]?.time === undefined ? 'STEP' : 'TIME', ({ step, time }) => String(time ?? step));
  return [
    paint.bold(cut(clean(`${id}: ${model}`), width)),
    cut(clean(`mostly ${named}`), width),
    cut(tried, width),
    paint.cyan(
      sparkline(
        points.slice(0, width).map(({ mean }) => mean),
        width,
      ),
    ),
    ...renderTable(points, [when, column('FORECAST', ({ mean }) => format(mean)), ...bounds], { width, paint }),
    '',
  ];
}

/** Six digits are more than a forecast knows. */
function format(value: number): string {
  return String(Number(value.toPrecision(6)));
}
