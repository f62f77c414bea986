import type { ComponentFigures, MinuteRow } from './recorder.js';

export interface PageRun {
  policy: string;
  components: readonly ComponentFigures[];
  rows: readonly (readonly MinuteRow[])[];
}

const WIDTH = 1000;
const HEIGHT = 170;
const LEFT = 60;
/** A point of a plot stands for as many minutes as it takes to have no more of them. */
const POINTS_MAX = 1000;

/** A page that needs nothing else: a table of the figures, and for each policy and component its plots as SVG. */
export function renderPage(title: string, runs: readonly PageRun[]): string {
  const plots = runs.flatMap(({ policy, components, rows }) =>
    components.map((figures, index) => plotsOf(`${policy}: ${figures.component}`, figures, rows[index] ?? [])),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>shoal simulate: ${escapeHtml(title)}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; color: #222; background: #fff; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
svg text { font-size: 11px; fill: #555; } .axis { stroke: #bbb; } .allotted { stroke: #2a7; fill: none; }
.needed { stroke: #237; fill: #2371; } .latency { stroke: #a52; fill: none; } .target { stroke: #888; stroke-dasharray: 4 3; }
.missed { fill: #d22; }
</style></head><body>
<h1>${escapeHtml(title)}</h1>
${tableOf(runs)}
<p>Cores: <span style="color:#237">needed</span> by the model for the objective, <span style="color:#2a7">allotted</span>;
<span style="color:#d22">red</span> marks minutes that missed the objective. A point is the greatest of its minutes.</p>
${plots.join('\n')}
</body></html>
`;
}

function tableOf(runs: readonly PageRun[]): string {
  const heads = ['policy', 'component', 'minutes missed', 'of', 'p50 ms', 'p99 ms', 'CPU hours', 'needed', 'ratio'];
  const more = ['under %', 'over %', 'time under %', 'time over %', 'jitter/h', 'starts', 'ends', 'resizes'];
  const rows = runs.flatMap(({ policy, components }) =>
    components.map((each) => {
      const { elasticity: e, moves } = each;
      const cells = [
        policy,
        each.component,
        each.missedMinutes,
        each.minutes,
        each.p50Ms?.toFixed(1) ?? '-',
        each.p99Ms?.toFixed(1) ?? '-',
        each.allottedCpuHours.toFixed(1),
        each.neededCpuHours.toFixed(1),
        each.costRatio.toFixed(3),
        ...[e.accuracyUnder, e.accuracyOver, e.timeShareUnder, e.timeShareOver, e.jitterPerHour].map((x) =>
          x.toFixed(2),
        ),
        moves.created,
        moves.ended,
        moves.resized,
      ];
      return `<tr>${cells.map((cell) => `<td>${escapeHtml(String(cell))}</td>`).join('')}</tr>`;
    }),
  );
  const head = [...heads, ...more].map((each) => `<th>${each}</th>`).join('');
  return `<table><tr>${head}</tr>\n${rows.join('\n')}</table>`;
}

function plotsOf(name: string, figures: ComponentFigures, rows: readonly MinuteRow[]): string {
  const { targetMs, percentile } = figures.goal;
  const group = Math.max(1, Math.ceil(rows.length / POINTS_MAX));
  const points = Array.from({ length: Math.ceil(rows.length / group) }, (_, i) =>
    rows.slice(i * group, (i + 1) * group),
  );
  const most = (of: (row: MinuteRow) => number) => points.map((part) => Math.max(0, ...part.map(of)));
  const [needed, allotted, count] = [most((row) => row.needed), most((row) => row.allotted), most((row) => row.count)];
  // Beyond four times the target it does not matter how far.
  const latency = most((row) => Math.min(4 * targetMs, row.p99Ms ?? 0));
  const hours = rows.length / 60;
  const cores = Math.max(...needed, ...allotted, 0.01);
  const marks = points.map((part, i) => (part.some(({ missed }) => missed) ? xOf(i, points.length) : null));
  const missed = marks
    .filter((x) => x !== null)
    .map((x) => `<rect class="missed" x="${x}" y="2" width="2" height="6"/>`);
  return `<h2>${escapeHtml(name)}</h2>
${plot('cores', cores, hours, [
  `<path class="needed" d="${path(needed, cores)} L${WIDTH} ${HEIGHT} L${LEFT} ${HEIGHT} Z"/>`,
  `<path class="allotted" d="${path(allotted, cores)}"/>`,
  ...missed,
])}
${plot('instances', Math.max(...count, 1), hours, [`<path class="allotted" d="${path(count, Math.max(...count, 1))}"/>`])}
${plot('p99 ms', 4 * targetMs, hours, [
  `<line class="target" x1="${LEFT}" x2="${WIDTH}" y1="${HEIGHT * 0.75}" y2="${HEIGHT * 0.75}"/>`,
  `<text x="${WIDTH - 4}" y="${HEIGHT * 0.75 - 4}" text-anchor="end">objective: p${percentile} ${targetMs} ms</text>`,
  `<path class="latency" d="${path(latency, 4 * targetMs)}"/>`,
])}`;
}

function plot(unit: string, most: number, hours: number, parts: readonly string[]): string {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const x = LEFT + share * (WIDTH - LEFT);
    return `<text x="${x}" y="${HEIGHT + 14}" text-anchor="middle">${(share * hours).toFixed(1)} h</text>`;
  });
  return `<svg viewBox="0 0 ${WIDTH + 20} ${HEIGHT + 20}" width="100%" role="img" aria-label="${unit}">
<line class="axis" x1="${LEFT}" x2="${LEFT}" y1="0" y2="${HEIGHT}"/><line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${HEIGHT}" y2="${HEIGHT}"/>
<text x="${LEFT - 6}" y="12" text-anchor="end">${most >= 10 ? most.toFixed(0) : most.toPrecision(2)}</text><text x="${LEFT - 6}" y="${HEIGHT}" text-anchor="end">0</text>
<text x="${LEFT - 6}" y="${HEIGHT / 2}" text-anchor="end">${unit}</text>
${parts.join('\n')}
${ticks.join('')}</svg>`;
}

function xOf(index: number, count: number): string {
  return (LEFT + ((WIDTH - LEFT) * index) / Math.max(1, count - 1)).toFixed(1);
}

function path(values: readonly number[], most: number): string {
  const points = values.map((value, i) => `${xOf(i, values.length)} ${(HEIGHT * (1 - value / most)).toFixed(1)}`);
  return `M${points.join(' L')}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
