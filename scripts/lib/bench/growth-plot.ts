/** What something of a size took. */
export interface Point {
  size: number;
  ms: number;
}

/** By which power of the size the time grows: 1 is linear, 2 quadratic. Least squares over the logarithms. */
export function exponentOf(points: readonly Point[]): number {
  const logs = points.map(({ size, ms }) => ({ x: Math.log(size), y: Math.log(ms) }));
  const meanX = logs.reduce((sum, { x }) => sum + x, 0) / logs.length;
  const meanY = logs.reduce((sum, { y }) => sum + y, 0) / logs.length;
  const over = logs.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0);
  return over / logs.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
}

/**
 * The points as a Mermaid chart for a page of docs, both axes by powers of ten, beside the straight line of what grows with
 * the size and ends at the last point. Sizes should be spaced evenly by powers: the axis is.
 */
export function growthPlot(title: string, points: readonly Point[]): string {
  const last = points.at(-1);
  if (last === undefined) throw new RangeError('nothing to plot');
  const logs = (values: readonly number[]) => `[${values.map((each) => Math.log10(each).toFixed(2)).join(', ')}]`;
  const most = Math.ceil(Math.log10(Math.max(...points.map(({ ms }) => ms))));
  return [
    '```mermaid',
    'xychart-beta',
    `  title "${title}: grows as size to the power ${exponentOf(points).toFixed(2)} (second line: 1)"`,
    `  x-axis "instances" [${points.map(({ size }) => `"${size.toLocaleString('en')}"`).join(', ')}]`,
    `  y-axis "log10 of ms" 0 --> ${most}`,
    `  line ${logs(points.map(({ ms }) => ms))}`,
    `  line ${logs(points.map(({ size }) => (last.ms * size) / last.size))}`,
    '```',
  ].join('\n');
}
