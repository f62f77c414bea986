import fc from 'fast-check';
import t from 'tap';
import { activityBetween, renderActivity } from '../../cli/render/activity.js';
import { bar, demandBar, sparkline } from '../../cli/render/bars.js';
import { copiesFacts, describeComponent, describeHost, describeInstance, ranges } from '../../cli/render/describe.js';
import { renderDecision } from '../../cli/render/explain.js';
import { renderForecast, thin } from '../../cli/render/forecast.js';
import { renderLogLine } from '../../cli/render/log-line.js';
import { COLOURS, choosePaint, PLAIN } from '../../cli/render/paint.js';
import { renderTable } from '../../cli/render/table.js';
import { clean, columns, cut, safeJson } from '../../cli/render/text.js';
import { renderTop, type TopView } from '../../cli/render/top.js';
import { formatBytes, formatCores, formatMs, formatRate } from '../../cli/render/units.js';
import type { CopiesView, InstanceView, ShardView } from '../../protocol/http.js';
import { componentView, decisionView, eventView, hostView, instanceView } from './fake-coordinator.js';

const HOSTILE = '\u001b[31mred\u001b[0m\u0007\u009b2J\u202eevil\r\n\u001b]0;title\u0007end';
/** Anything a terminal could take as a command, line ends apart. */
const CONTROL = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;

const SAMPLE = {
  cpuSeconds: 0,
  memoryBytes: 0,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  arrived: 0,
  finished: 0,
  failed: 0,
  outstanding: 0,
  latencyBuckets: [],
};

const view = (more: Partial<TopView> = {}): TopView => ({
  title: 'http://127.0.0.1:7946',
  atMs: 0,
  hosts: [hostView()],
  components: [componentView()],
  instances: [instanceView(), instanceView({ id: 'search-web-2', phase: 'backoff' })],
  events: [eventView(1)],
  ...more,
});

t.test('text from elsewhere cannot command the terminal', async (t) => {
  t.notMatch(clean(HOSTILE), CONTROL);
  t.match(clean(HOSTILE), /red.*evil.*end/);
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => !CONTROL.test(clean(text))));
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = safeJson({ text });
      return JSON.parse(json).text === text && !CONTROL.test(json.replaceAll('\n', ''));
    }),
  );
});

t.test('cut never exceeds its width and keeps what fits', async (t) => {
  t.equal(cut('abcdef', 4), 'abc…');
  t.equal(cut('abcd', 4), 'abcd');
  t.equal(cut('abcd', 0), '');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(50), (text, width) => columns(cut(text, width)) <= width),
  );
});

t.test('a table aligns its columns, has no blanks at its ends, fits its width', async (t) => {
  const rows = [
    { name: 'a', count: 5 },
    { name: 'longer', count: 100 },
  ];
  const shape = [
    { title: 'NAME', value: (row: (typeof rows)[number]) => row.name },
    { title: 'COUNT', value: (row: (typeof rows)[number]) => String(row.count), align: 'right' as const },
  ];
  t.strictSame(renderTable(rows, shape), ['NAME    COUNT', 'a           5', 'longer    100']);
  for (const line of renderTable(rows, shape, { width: 9 })) t.ok(columns(line) <= 9, line);
  const hostile = renderTable([{ name: HOSTILE, count: 1 }], shape).join('');
  t.notMatch(hostile, CONTROL);
});

t.test('bars have their width whatever the values', async (t) => {
  t.equal(bar(1, 2, 4), '██··');
  t.equal(bar(5, 2, 4), '████');
  t.equal(bar(0, 0, 3), '···');
  t.equal(demandBar({ demand: 1, forecast: 2, allotted: 3 }, 4, 8), '██▒▒··│·');
  t.equal(sparkline([0, 1, 2, 4], 10), '▁▃▅█');
  t.equal(sparkline([1, 2, 3], 2).length, 2);
  const number = fc.oneof(fc.double(), fc.integer());
  fc.assert(
    fc.property(number, number, number, number, fc.nat(60), (demand, forecast, allotted, max, width) => {
      t.equal(columns(bar(demand, max, width)), width);
      t.equal(columns(demandBar({ demand, forecast, allotted }, max, width)), width);
    }),
    { numRuns: 200 },
  );
});

t.test('what calls go over, and why not over shared memory', async (t) => {
  const called = (more: object) => instanceView({ channels: { cart: { ring: 2, unix: 0, ...more } } });
  const lines = (...instances: InstanceView[]) => describeComponent(componentView(), instances, PLAIN).join('\n');
  t.match(lines(called({}), called({})), /calls go +to cart by 4 channels in shared memory\n/);
  const some = lines(called({}), called({ ring: 0, unix: 1, whyNoRing: 'the native part cannot be loaded' }));
  t.match(some, /to cart by 2 channels in shared memory, 1 over Unix sockets: the native part cannot be loaded/);
  t.notMatch(lines(instanceView()), /calls go/);
  t.match(describeInstance(called({}), PLAIN).join('\n'), /calls go +to cart by 2 channels/);
});

t.test('quantities', async (t) => {
  t.strictSame([0, 1536, 64 * 2 ** 20, 8 * 2 ** 30].map(formatBytes), ['0', '1.5Ki', '64Mi', '8Gi']);
  t.strictSame([0.25, 2, 0.333, 0.0071].map(formatCores), ['0.25', '2', '0.33', '0.007']);
  t.strictSame([0.85, 12, 1_250, 65_000, 7_200_000].map(formatMs), ['0.8ms', '12ms', '1.3s', '1m', '2h']);
  t.strictSame([1.25, 4_211.7].map(formatRate), ['1.3', '4212']);
  t.equal(formatCores(Number.NaN), '-');
});

t.test('the live frame shows hosts, components, demand, forecast, instances and events', async (t) => {
  const frame = renderTop(view(), 160).join('\n');
  t.match(frame, /1 host, 1 component, 2 instances \(1 ready\)/);
  t.match(frame, /rack1 +connected +open +2 +8Gi +2 +6\.1\.0/);
  t.match(frame, /search\/web +2\/2 of 1–8 +0\.25 cpu 64Mi +█+▒*.*0\.3 +≤0\.55 in 30s +60% +42 +12ms/);
  t.match(frame, /search-web-2 +rack1 +backoff/);
  t.match(frame, /instance-ready {2}search-web-1 {2}event number 1/);
});

t.test(
  'what a component does each second is the difference of two looks, of instances that were there in both',
  async (t) => {
    const sample = (count: number) => ({
      ...SAMPLE,
      faultsMinor: count,
      sentBytes: 1_000 * count,
      runDelaySeconds: count,
    });
    const at = (counts: readonly number[]) =>
      counts.map((count, i) => instanceView({ id: `i${i}`, sample: { ...sample(count), cpuSeconds: 3 * count } }));
    const before = at([10, 100]);
    const after = [...at([30, 140]), instanceView({ id: 'new', sample: sample(1_000) })];
    const [activity] = activityBetween(before, after, 2);
    t.equal(activity?.perSecond.faultsMinor, 30);
    t.equal(activity?.perSecond.systemCalls, undefined, 'what is not counted is not told');
    const lines = renderActivity(activity === undefined ? [] : [activity], 200);
    t.match(lines[1], /search\/web +25% +30 +- +- +0 +0 +29Ki/);
    t.notMatch(lines[0], /SYSTEM CALLS/);
    const restarted = after.map((each) => ({ ...each, restarts: each.restarts + 1 }));
    t.same(activityBetween(before, restarted, 2), [], 'counts of another process are not compared');
    t.match(renderTop(view({ activity: activityBetween(before, after, 2) }), 160).join('\n'), /EACH SECOND/);
  },
);

t.test('a frame keeps to its width and height, and says how much it left out', async (t) => {
  const instances = Array.from({ length: 300 }, (_, at) => instanceView({ id: `search-web-${at}` }));
  for (const [width, height] of [
    [80, 24],
    [40, 10],
    [1, 1],
    [200, 60],
  ] as const) {
    const lines = renderTop(view({ instances }), width, { height });
    t.ok(lines.length <= height, `${lines.length} lines`);
    for (const line of lines) t.ok(columns(line) <= width, line);
  }
  t.match(renderTop(view({ instances }), 80, { height: 24 }).join('\n'), /… and \d+ more/);
});

t.test('a frame of hostile views holds no control characters', async (t) => {
  const hostile = view({
    title: HOSTILE,
    hosts: [hostView({ name: HOSTILE, kernel: HOSTILE, degraded: [{ what: HOSTILE, remedy: HOSTILE }] })],
    components: [componentView({ component: HOSTILE, reason: HOSTILE })],
    instances: [instanceView({ id: HOSTILE, exit: { code: null, signal: null, reason: HOSTILE } })],
    events: [eventView(1, { kind: HOSTILE, message: HOSTILE, instance: HOSTILE })],
  });
  for (const line of renderTop(hostile, 500)) t.notMatch(line, CONTROL);
  const { forecast } = componentView();
  if (forecast === null) throw new Error('a forecast is expected');
  const described = [
    ...describeComponent(componentView({ reason: HOSTILE }), [], PLAIN),
    ...describeInstance(instanceView({ host: HOSTILE }), PLAIN),
    ...describeHost(hostView({ degraded: [{ what: HOSTILE, remedy: HOSTILE }] }), PLAIN),
    ...renderForecast(HOSTILE, { ...forecast, model: HOSTILE, points: [] }, 80),
    ...renderDecision(decisionView(0, { words: [{ topic: HOSTILE, text: HOSTILE }] }), 80),
    renderLogLine('agent', JSON.stringify({ level: 30, time: 0, msg: HOSTILE, [HOSTILE]: HOSTILE }), PLAIN),
    renderLogLine('agent', HOSTILE, PLAIN),
  ];
  for (const line of described) t.notMatch(line, CONTROL);
});

t.test('a host tells where its images came from and went', (t) => {
  const none = { blobs: 0, bytes: 0 };
  const images = { fromHosts: { blobs: 3, bytes: 2 ** 20 }, fromSources: none, given: none, refused: 0, failed: 0 };
  const line = (figures: typeof images) =>
    describeHost(hostView({ images: figures }), PLAIN).find((each) => each.startsWith('images'));
  t.match(line(images), '3 blobs (1Mi) from other hosts, 0 blobs (0) from registries and files; 0 blobs (0) given');
  t.notMatch(line(images), 'refused');
  t.match(line({ ...images, refused: 2, failed: 1 }), '2 refused as too many at once; 1 came wrong');
  t.notOk(describeHost(hostView({}), PLAIN).some((each) => each.startsWith('images')));
  t.end();
});

t.test('a host tells what carries calls to each other one, and why', (t) => {
  const tcp = { host: 'h2', carrier: 'tcp' as const, encrypted: true, reason: 'this host has no RDMA', channels: 3 };
  const none = { host: 'h3', carrier: 'none' as const, reason: 'h3 does not answer', channels: 0 };
  const lines = describeHost(hostView({ connections: [tcp, none] }), PLAIN);
  t.ok(lines.some((each) => /^to h2 +3 channels by tcp, encrypted: this host has no RDMA$/.test(each)));
  t.ok(lines.some((each) => /^to h3 +nothing is carried: h3 does not answer$/.test(each)));
  t.end();
});

t.test('colours only for a terminal that wants them', async (t) => {
  t.equal(choosePaint(true, {}), COLOURS);
  t.equal(choosePaint(true, { NO_COLOR: '' }), COLOURS, 'an empty NO_COLOR does not count (no-color.org)');
  t.equal(choosePaint(true, { NO_COLOR: '1' }), PLAIN);
  t.equal(choosePaint(true, { TERM: 'dumb' }), PLAIN);
  t.equal(choosePaint(false, {}), PLAIN);
  const sequence = String.fromCharCode(27);
  t.ok(renderTop(view(), 160, { paint: COLOURS }).join('').includes(sequence));
  t.notOk(renderTop(view(), 160).join('').includes(sequence));
});

t.test('on how many hosts state is, and what is gone with one', async (t) => {
  const of = (inSync: string[], joining: string[] = [], phase: CopiesView['phase'] = 'serving'): ShardView => {
    const copies = { epoch: 1, phase, owner: inSync[0] ?? null, inSync, joining };
    return { shard: 0, owner: 'a-b-0', cpu: 0, callsPerSecond: 0, copies, holds: null, move: null };
  };
  t.same(copiesFacts([of(['h1', 'h2']), of(['h1', 'h2', 'h3'])]), [['copies', 'each on 2 hosts or more']]);
  const text = '1 on one host alone, gone with it; 1 are being copied; 1 change hands or wait for a host';
  t.same(copiesFacts([of(['h1'], ['h2']), of(['h1', 'h2'], [], 'passing')]), [['copies', text]]);
  t.same(copiesFacts([{ ...of(['h1']), copies: null }]), []);
});

t.test('shards as ranges, points thinned with the last one kept', async (t) => {
  t.equal(ranges([3, 1, 2, 7, 9, 10]), '1-3, 7, 9-10');
  t.equal(ranges([]), '');
  t.strictSame(thin([1, 2, 3, 4, 5, 6], 3), [2, 4, 6]);
  fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 1 }), fc.integer({ min: 1, max: 40 }), (values, max) => {
      const shown = thin(values, max);
      return shown.length <= max && shown.at(-1) === values.at(-1);
    }),
  );
});

t.test('pino lines are made readable', async (t) => {
  const line = JSON.stringify({
    level: 40,
    time: 0,
    pid: 1,
    hostname: 'h',
    name: 'agent',
    msg: 'no BPF',
    remedy: 'root',
  });
  t.match(renderLogLine('agent', line, PLAIN), /^agent {7}\| \d\d:\d\d:\d\d warn {2}no BPF {2}remedy=root$/);
  t.equal(renderLogLine('agent', '{broken', PLAIN), 'agent       | {broken');
});
