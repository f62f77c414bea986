import t from 'tap';
import { parseFromInstance } from '../../agent/control.js';
import { parseDesired } from '../../agent/desired.js';
import { routesFor } from '../../agent/routes.js';
import { readAgentMessage } from '../../coordinator/link-messages.js';
import { hostConnected, startObserving, statusOf, takeNews } from '../../coordinator/observed.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import { newsOf, toWire } from '../../protocol/instance-news.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Sample } from '../../protocol/link.js';
import { component, instance } from './rig.js';

const buckets = Array.from({ length: LATENCY_BUCKETS }, () => 0);
const counters = { arrived: 1, finished: 1, failed: 0, outstanding: 0, latencyBuckets: buckets };
const good: Record<string, unknown>[] = [
  {},
  { busyMs: 1.5 },
  { heat: [[LIMITS.shardCountMax - 1, 2, 0.5]] },
  { called: { cart: 7 } },
  { busyMs: 0, heat: [], called: {} },
];
const bad: Record<string, unknown>[] = [
  { busyMs: -1 },
  { busyMs: Number.NaN },
  { busyMs: '1' },
  { heat: 1 },
  { heat: [[LIMITS.shardCountMax, 1, 1]] },
  { heat: [[0, 1]] },
  { heat: [[0, -1, 1]] },
  { heat: [[0, 1, Number.POSITIVE_INFINITY]] },
  { heat: Array.from({ length: LIMITS.shardCountMax + 1 }, () => [0, 1, 1]) },
  { called: [] },
  { called: { 'Not a name': 1 } },
  { called: { cart: 0.5 } },
  { called: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`c${i}`, 1])) },
];

t.test('what a process counts of shards and calls is looked at by the agent', async (t) => {
  const read = (extra: object) => parseFromInstance({ type: 'stats', stats: { ...counters, shards: [], ...extra } });
  for (const extra of good) t.match(read(extra), { stats: extra });
  const channels = { cart: { ring: 1, unix: 2, whyNoRing: 'no memory' } };
  t.match(read({ channels }), { stats: { channels } });
  for (const wrong of [[], { cart: 1 }, { cart: { ring: -1, unix: 0 } }, { 'Not a name': { ring: 0, unix: 0 } }]) {
    t.throws(() => read({ channels: wrong }), { code: 'SHOAL_E_FRAME' }, JSON.stringify(wrong));
  }
  for (const extra of bad) t.throws(() => read(extra), { code: 'SHOAL_E_FRAME' }, JSON.stringify(extra).slice(0, 60));
});

t.test('so is what it says of its lag, by the agent and by the coordinator', async (t) => {
  const ofProcess = (stateLagMs: unknown) =>
    parseFromInstance({ type: 'stats', stats: { ...counters, shards: [], stateLagMs } });
  const ofAgent = (lag: unknown) => {
    const { counts: _, ...news } = toWire(newsOf([]));
    return readAgentMessage({ type: 'report', atMs: 0, revision: 0, ...news, events: [], lags: { 'a-b-0': lag } });
  };
  for (const read of [ofProcess, ofAgent]) {
    read(0);
    read(1.5);
    for (const wrong of [-1, 'long', Number.NaN, Number.POSITIVE_INFINITY, null, [1]]) {
      t.throws(() => read(wrong), { code: 'SHOAL_E_FRAME' }, `${read.name}: ${wrong}`);
    }
  }
});

t.test('and again by the coordinator', async (t) => {
  const usage = { cpuSeconds: 1, memoryBytes: 1, ioReadBytes: 0, ioWriteBytes: 0 };
  const read = (extra: object) => {
    const status = {
      id: 'a-b-0',
      app: 'a',
      component: 'b',
      phase: 'ready' as const,
      size: { cpu: 1, memory: 1 },
      restarts: 0,
    };
    const sample = { ...usage, ...counters, ...extra } as Sample;
    const { counts: _, ...news } = toWire(newsOf([{ ...status, shards: [], sample }]));
    // As an agent would say them that leaves nothing out and looks at nothing.
    const { heat, called } = extra as Pick<Sample, 'heat' | 'called'>;
    const counts = [{ index: 0, ...(heat === undefined ? {} : { heat }), ...(called === undefined ? {} : { called }) }];
    const message = readAgentMessage({ type: 'report', atMs: 0, revision: 0, ...news, counts, events: [] });
    if (message.type !== 'report') throw new Error('a report remains one');
    const observed = startObserving(0);
    hostConnected(observed, { name: 'h', cores: 1, memoryBytes: 1, kernel: '6', degraded: [] }, 0);
    takeNews(observed, 'h', message, 0);
    return (observed.hosts.get('h')?.rows ?? []).map(statusOf);
  };
  for (const extra of good) {
    const { heat, called, ...rest } = extra;
    const counted = Object.entries({ heat, called }).filter(([, each]) => each && Object.keys(each).length > 0);
    t.match(read(extra), [{ sample: { ...rest, ...Object.fromEntries(counted) } }]);
  }
  // A row of numbers holds no text, and there NaN says that nothing is counted.
  const sayable = bad.filter(({ busyMs }) => busyMs === undefined || Number(busyMs) < 0);
  for (const extra of sayable)
    t.throws(() => read(extra), { code: 'SHOAL_E_FRAME' }, JSON.stringify(extra).slice(0, 60));
});

t.test('weights come with the desired state and go out with the routes', async (t) => {
  const desired = { revision: 1, apps: {}, shards: {} };
  for (const weight of [1, 0.25]) {
    t.match(parseDesired({ ...desired, instances: [{ ...instance('store', 0), weight }] }), { revision: 1 });
  }
  for (const weight of [0, -1, 1.1, Number.NaN, '1']) {
    const given = { ...desired, instances: [{ ...instance('store', 0), weight }] };
    t.throws(() => parseDesired(given), { code: 'SHOAL_E_FRAME' }, `a weight of ${weight}`);
  }
  const up = { app: 't', component: 'store', shards: [], frozen: [] };
  const routes = (weights: readonly number[]) => {
    const instances = weights.map((weight, i) => ({ ...up, id: `t-store-${i}`, serving: i > 0, weight }));
    return routesFor('t', 'front', component('front', { calls: ['store'] }), { store: component('store') }, instances);
  };
  t.same(routes([1, 1, 1]), { store: { instances: ['t-store-1', 't-store-2'] } });
  t.same(routes([1, 0.5, 1]), { store: { instances: ['t-store-1', 't-store-2'], weights: [0.5, 1] } });
});
