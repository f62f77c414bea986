const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const STEPS = '▁▂▃▄▅▆▇█';

/** A horizontal bar of exactly `width` columns, filled to value/max in eighths of a column. */
export function bar(value: number, max: number, width: number): string {
  const share = max > 0 && Number.isFinite(value) ? Math.min(1, Math.max(0, value / max)) : 0;
  const eighths = Math.round(share * width * 8);
  const full = Math.floor(eighths / 8);
  const text = '█'.repeat(full) + (EIGHTHS[eighths % 8] ?? '');
  return text + '·'.repeat(Math.max(0, width - [...text].length));
}

/** Demand filled (█), the forecast's upper bound beyond it shaded (▒), what is allotted as a mark (│). */
export function demandBar(
  { demand, forecast, allotted }: { demand: number; forecast: number; allotted: number },
  max: number,
  width: number,
): string {
  const column = (value: number): number =>
    max > 0 && Number.isFinite(value) ? Math.round(Math.min(1, Math.max(0, value / max)) * width) : 0;
  const filled = column(demand);
  const shaded = Math.max(filled, column(forecast));
  const mark = allotted > 0 ? Math.min(width - 1, column(allotted)) : -1;
  let text = '';
  for (let at = 0; at < width; at += 1) text += at === mark ? '│' : at < filled ? '█' : at < shaded ? '▒' : '·';
  return text;
}

/** One column for each value, its height by the largest. At most `width` columns: later values win. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = width > 0 ? values.slice(-width) : [];
  const max = Math.max(0, ...shown.filter(Number.isFinite));
  return shown
    .map((value) => {
      const share = max > 0 && Number.isFinite(value) ? Math.max(0, value) / max : 0;
      return STEPS[Math.min(STEPS.length - 1, Math.floor(share * STEPS.length))] ?? '▁';
    })
    .join('');
}
