import type { AppView, ComponentView, HostView, InstanceView, ShardView } from '../../protocol/http.js';
import type { BlobCount, ImageFigures, ProfilerFigures } from '../../protocol/link.js';
import type { Paint } from './paint.js';
import { renderTable } from './table.js';
import { clean, pad } from './text.js';
import { componentListColumns, exitText, forecastUpper, instanceColumns, linkText } from './top.js';
import { formatBytes, formatCores, formatMs, formatPercent, formatRate } from './units.js';

type Facts = readonly (readonly [label: string, value: string])[];

/** "label   value" lines, labels of one width. */
function facts(list: Facts, paint: Paint): string[] {
  const width = Math.max(...list.map(([label]) => label.length)) + 2;
  return list.map(([label, value]) => `${paint.bold(pad(label, width))}${clean(value)}`);
}

export function describeApp(app: AppView, components: readonly ComponentView[], paint: Paint): string[] {
  const list: Facts = [
    ['app', app.app],
    ['revision', String(app.revision)],
  ];
  return [...facts(list, paint), '', ...renderTable(components, componentListColumns(components, paint), { paint })];
}

export function describeComponent(view: ComponentView, instances: readonly InstanceView[], paint: Paint): string[] {
  const { count, size, latencyMs, forecast, override } = view;
  const upper = forecastUpper(view);
  const list: Facts = [
    ['component', `${view.app}/${view.component}`],
    ['count', `${count.ready} ready of ${count.desired} wanted, bounds ${count.min}–${count.max}`],
    [
      'set by hand',
      override === null ? 'no' : `${override.count}; \`shoal scale ${view.app}/${view.component} auto\` ends it`,
    ],
    ['size', sizeText(size)],
    ['mode', modeText(view)],
    ...(view.paused ? [['paused', 'all its instances are frozen; `shoal resume` lets them go on'] as const] : []),
    ...(view.wouldBe === null ? [] : [['would be', wouldBeText(view)] as const]),
    ['demand', `${formatCores(view.demandCpu)} cores, ${formatRate(view.requestsPerSecond)} requests/s`],
    ['utilisation', formatPercent(view.utilisation)],
    ['latency', latencyMs === null ? 'no calls' : `p50 ${formatMs(latencyMs.p50)}, p99 ${formatMs(latencyMs.p99)}`],
    [
      'forecast',
      forecast === null || upper === null
        ? 'none yet'
        : `at most ${formatCores(upper)} cores in ${forecast.horizonSeconds} s (${forecast.model})`,
    ],
    ...view.ports.map((port) => ['port', portText(port)] as const),
    ['starts', startText(view)],
    ...(view.warm.waiting === 0 ? [] : [['warm', warmText(view)] as const]),
    ['why', view.reason],
    ...(view.shards === null ? [] : [['state shards', heatText(view.shards)] as const]),
    ...copiesFacts(view.shards ?? []),
    ...channelFacts(instances),
  ];
  return [...facts(list, paint), '', ...renderTable(instances, instanceColumns(paint), { paint })];
}

function warmText({ warm }: ComponentView): string {
  return `${warm.waiting} wait to become instances, taking ${formatBytes(warm.memoryBytes)}`;
}

function portText({ name, host, missingOn }: ComponentView['ports'][number]): string {
  const where = missingOn.length === 0 ? 'listens' : `does not listen on ${missingOn.join(', ')}`;
  return `${host} to ${name}, ${where}`;
}

/** Of so many of the hottest shards more is said. */
const HOTTEST_SHOWN = 5;

function heatText(shards: readonly ShardView[]): string {
  const hot = shards.filter(({ cpu }) => cpu > 0).sort((a, b) => b.cpu - a.cpu || a.shard - b.shard);
  if (hot.length === 0) return `${shards.length}, no heat measured`;
  const each = hot.slice(0, HOTTEST_SHOWN).map(({ shard, owner, cpu, callsPerSecond }) => {
    return `${shard} on ${owner ?? 'nobody'} ${formatCores(cpu)} cores ${formatRate(callsPerSecond)} calls/s`;
  });
  return `${shards.length}, the hottest: ${each.join('; ')}`;
}

/** On how many hosts state is, and what that means. */
export function copiesFacts(shards: readonly ShardView[]): (readonly [string, string])[] {
  const copies = shards.flatMap((each) => each.copies ?? []);
  if (copies.length === 0) return [];
  const fewest = Math.min(...copies.map(({ inSync }) => inSync.length));
  const alone = copies.filter(({ inSync }) => inSync.length < 2).length;
  const many = fewest < 2 ? `${alone} on one host alone, gone with it` : `each on ${fewest} hosts or more`;
  const filled = copies.filter(({ joining }) => joining.length > 0).length;
  const idle = copies.filter(({ phase }) => phase !== 'serving').length;
  const more = [
    ...(filled === 0 ? [] : [`${filled} are being copied`]),
    ...(idle === 0 ? [] : [`${idle} change hands or wait for a host`]),
  ];
  return [['copies', [many, ...more].join('; ')]];
}

const STARTS = { warm: 'warm starts', cold: 'starts on a host new to it' };

function startText({ start: { seconds, kind, seen } }: ComponentView): string {
  const within = `within ${seconds.toFixed(1)} s`;
  return kind === 'assumed' ? `${within}, assumed: none seen yet` : `${within}, by the last ${seen} ${STARTS[kind]}`;
}

function sizeText({ cpu, memory }: ComponentView['size']): string {
  return `${formatCores(cpu)} cores, ${formatBytes(memory)}`;
}

const SAID_BY = { component: 'set for it by hand', app: 'set for its app by hand', manifest: 'by the manifest' };

/** Whether plans are acted on, and who said so. */
export function modeText({ mode: { mode, by } }: ComponentView): string {
  const does = mode === 'act' ? 'act, plans are carried out' : 'observe, plans are shown and nothing is changed';
  return `${does} (${SAID_BY[by]})`;
}

function wouldBeText({ wouldBe, mode }: ComponentView): string {
  if (wouldBe === null) return '-';
  const why = mode.mode === 'observe' ? 'if it were acted on' : 'if the count were not set by hand';
  return `${wouldBe.count} × ${sizeText(wouldBe.size)}, ${why}`;
}

export function describeInstance(view: InstanceView, paint: Paint): string[] {
  const { sample } = view;
  const list: Facts = [
    ['instance', view.id],
    ['component', `${view.app}/${view.component}`],
    ['host', view.host],
    ['phase', view.draining ? `${view.phase}, draining` : view.phase],
    ['size', sizeText(view.size)],
    ['uses', `${formatCores(view.cpuUsed)} cores${sample === undefined ? '' : `, ${formatBytes(sample.memoryBytes)}`}`],
    ['waited for CPU', runDelayText(view)],
    ...activityFacts(view),
    ['process', view.pid === undefined ? 'none' : `pid ${view.pid}`],
    ['started in', view.startMs === undefined ? '-' : formatMs(view.startMs)],
    ['restarts', String(view.restarts)],
    ['last exit', exitText(view)],
    ['calls', callsText(view)],
    ['weight', view.weight === 1 ? '1' : `${view.weight}: it gets fewer calls, being slower than the others`],
    ['state shards', view.shards.length === 0 ? 'none' : ranges(view.shards)],
    ...channelFacts([view]),
  ];
  return facts(list, paint);
}

/** What the calls of these instances go over, a line for each component that they call. */
function channelFacts(instances: readonly InstanceView[]): Facts {
  const callees = new Set(instances.flatMap(({ channels = {} }) => Object.keys(channels)));
  return [...callees].sort().map((callee) => {
    const all = instances.flatMap(({ channels = {} }) => channels[callee] ?? []);
    const count = (carrier: 'ring' | 'unix') => all.reduce((sum, each) => sum + each[carrier], 0);
    const why = all.find(({ whyNoRing }) => whyNoRing !== undefined)?.whyNoRing;
    const sockets =
      count('unix') === 0 ? '' : `, ${count('unix')} over Unix sockets${why === undefined ? '' : `: ${why}`}`;
    return ['calls go', `to ${callee} by ${count('ring')} channels in shared memory${sockets}`] as const;
  });
}

/** Since it started; nothing where its host cannot count it. */
function activityFacts({ sample }: InstanceView): Facts {
  if (sample === undefined) return [];
  const { faultsMinor, faultsMajor, systemCalls, systemCallSeconds = 0, ioOperations, ioSeconds = 0 } = sample;
  const { sentBytes, receivedBytes = 0, retransmits = 0, connects, connectSeconds = 0 } = sample;
  const mean = (seconds: number, count: number) => (count === 0 ? '-' : formatMs((1_000 * seconds) / count));
  const list: Facts[] = [];
  if (faultsMinor !== undefined) list.push([['page faults', `${faultsMinor} from memory, ${faultsMajor} from disk`]]);
  if (systemCalls !== undefined)
    list.push([['system calls', `${systemCalls}, on average ${mean(systemCallSeconds, systemCalls)}`]]);
  if (ioOperations !== undefined) {
    const bytes = `${formatBytes(sample.ioReadBytes)} read, ${formatBytes(sample.ioWriteBytes)} written`;
    list.push([['block I/O', `${ioOperations}, on average ${mean(ioSeconds, ioOperations)}; ${bytes}`]]);
  }
  if (sentBytes !== undefined) {
    const again = `${retransmits} TCP segments sent again`;
    list.push([['network', `${formatBytes(sentBytes)} sent, ${formatBytes(receivedBytes)} received, ${again}`]]);
  }
  if (connects !== undefined)
    list.push([['connections made', `${connects}, on average in ${mean(connectSeconds, connects)}`]]);
  return list.flat();
}

/** Of the time in which it wanted to run, since it started. */
function runDelayText({ sample }: InstanceView): string {
  const { cpuSeconds = 0, runDelaySeconds } = sample ?? {};
  if (runDelaySeconds === undefined) return 'not known';
  const wanted = cpuSeconds + runDelaySeconds;
  return `${formatPercent(wanted === 0 ? 0 : runDelaySeconds / wanted)} of the time in which it could have run`;
}

function callsText({ sample }: InstanceView): string {
  if (sample === undefined) return 'no samples yet';
  return `${sample.finished} finished, ${sample.failed} failed, ${sample.outstanding} outstanding`;
}

function labelsText(labels: Record<string, string> = {}): string {
  const list = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return list.length === 0 ? 'none' : list.sort().join(', ');
}

export function describeHost(view: HostView, paint: Paint): string[] {
  const list: Facts = [
    ['host', view.name],
    ['link', view.standing.why === '' ? linkText(view) : `${linkText(view)}: ${view.standing.why}`],
    ['use', view.use],
    ['labels', labelsText(view.labels)],
    ['taints', view.taints?.join(', ') || 'none'],
    ['cores', formatCores(view.cores)],
    ['memory', formatBytes(view.memoryBytes)],
    ['kernel', view.kernel],
    ['instances', String(view.instances)],
    ...(view.images === undefined ? [] : [['images', imagesText(view.images)] as const]),
    ...(view.profiler === undefined ? [] : [['profiler', profilerText(view.profiler)] as const]),
    ...(view.connections ?? []).map(({ host, carrier, encrypted = false, reason, channels }): [string, string] => {
      const how = `${carrier}, ${encrypted ? 'encrypted' : 'not encrypted'}`;
      const what = carrier === 'none' ? 'nothing is carried' : `${channels} channels by ${how}`;
      return [`to ${host}`, `${what}: ${reason}`];
    }),
  ];
  const degraded = view.degraded.flatMap((each) => [
    paint.yellow(clean(`degraded: ${each.what}`)),
    clean(`  remedy: ${each.remedy}`),
  ]);
  return [...facts(list, paint), ...degraded];
}

/** Where its images came from and went since its agent started. */
function imagesText({ fromHosts, fromSources, given, refused, failed }: ImageFigures): string {
  const text = ({ blobs, bytes }: BlobCount) => `${blobs} blobs (${formatBytes(bytes)})`;
  const wrong = [
    ...(refused === 0 ? [] : [`${refused} refused as too many at once`]),
    ...(failed === 0 ? [] : [`${failed} came wrong or not to their end`]),
  ];
  const came = `${text(fromHosts)} from other hosts, ${text(fromSources)} from registries and files`;
  return [came, `${text(given)} given to other hosts`, ...wrong].join('; ');
}

/** What is missing in the profiles of a host. */
function profilerText({ samplesLost, countsLost, tablesLeftOut, inlinesLeftOut }: ProfilerFigures): string {
  const lost = `${samplesLost} samples and ${countsLost} counts lost`;
  return `${lost}; left out: unwind tables of ${tablesLeftOut} files, debug information of ${inlinesLeftOut}`;
}

/** Sorted numbers as ranges: 0-3, 7. */
export function ranges(numbers: readonly number[]): string {
  const parts: string[] = [];
  let first: number | undefined;
  let last: number | undefined;
  const close = (): void => {
    if (first !== undefined) parts.push(first === last ? `${first}` : `${first}-${last}`);
  };
  for (const each of numbers.toSorted((a, b) => a - b)) {
    if (last === undefined || each > last + 1) {
      close();
      first = each;
    }
    last = each;
  }
  close();
  return parts.join(', ');
}
