import { quantile } from '../demo/recorder.js';

/** One figure beside that of a peer, measured in the same run. */
export interface Row {
  metric: string;
  unit: string;
  value: number;
  peer: string;
  peerValue: number;
  /** value / peerValue. */
  ratio: number;
  /** Of the ratio: 5 % and 95 % quantile over pairs of neighbouring samples, or of comparePairs; absent for single figures. */
  spread?: [number, number];
}

/** The quantile of both, with the spread of the ratios of samples taken one after the other. */
export function compare(metric: string, unit: string, q: number, ours: number[], peer: string, theirs: number[]): Row {
  const pairs = Math.min(ours.length, theirs.length);
  const ratios = Array.from({ length: pairs }, (_, i) => (ours[i] ?? 0) / (theirs[i] ?? 1));
  const value = quantile(ours, q);
  const peerValue = quantile(theirs, q);
  return {
    metric,
    unit,
    value,
    peer,
    peerValue,
    ratio: value / peerValue,
    spread: [quantile(ratios, 0.05), quantile(ratios, 0.95)],
  };
}

/**
 * The median of the ratios of samples that belong together, and where it lies with 95 % confidence, by the ranks of the
 * binomial distribution (Conover, Practical Nonparametric Statistics, 3.2).
 */
export function comparePairs(metric: string, unit: string, ours: number[], peer: string, theirs: number[]): Row {
  const ratios = ours.map((each, i) => each / (theirs[i] ?? Number.NaN)).sort((a, b) => a - b);
  const half = 0.98 * Math.sqrt(ratios.length);
  const at = (rank: number) => ratios[Math.min(ratios.length - 1, Math.max(0, Math.round(rank)))] ?? Number.NaN;
  const middle = (ratios.length - 1) / 2;
  return {
    metric,
    unit,
    value: quantile(ours, 0.5),
    peer,
    peerValue: quantile(theirs, 0.5),
    ratio: quantile(ratios, 0.5),
    spread: [at(Math.floor(middle - half)), at(Math.ceil(middle + half))],
  };
}

/** A figure without a peer to measure it against. */
export function alone(metric: string, unit: string, value: number): Row {
  return { metric, unit, value, peer: '-', peerValue: Number.NaN, ratio: Number.NaN };
}

/** How samples without a peer are distributed. */
export function sharesOf(metric: string, ms: readonly number[]): Row[] {
  const shares = { p50: 0.5, p90: 0.9, p99: 0.99, max: 1 };
  return Object.entries(shares).map(([name, q]) => alone(`${metric}: ${name}`, 'ms', quantile([...ms], q)));
}

/** As a Markdown table. */
export function renderRows(rows: readonly Row[]): string[] {
  const text = (value: number) => (Number.isNaN(value) ? '-' : value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const head = ['metric', 'unit', 'value', 'peer', "peer's value", 'ratio', 'spread'];
  const cells = rows.map((row) => [
    row.metric,
    row.unit,
    text(row.value),
    row.peer,
    text(row.peerValue),
    text(row.ratio),
    row.spread === undefined ? '-' : row.spread.map(text).join(' to '),
  ]);
  const line = (row: string[]) => `| ${row.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...cells.map(line)];
}
