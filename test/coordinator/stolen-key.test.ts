/** What an agent can do to others that speaks for its own host by a good certificate, and lies. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { startLinkServer } from '../../coordinator/link-server.js';
import { encodeFrame } from '../../protocol/frame.js';
import { NewsWriter, toWire } from '../../protocol/instance-news.js';
import { type AgentEvent, type InstanceStatus, LINK_VERSION } from '../../protocol/link.js';
import { until } from '../../scripts/lib/until.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

const HOST = { cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
const YAML = { 'content-type': 'application/yaml' };
const KEY = 'shop/web';

/** The app runs on host `good`; `liar` is another host, of which nothing is wanted. */
async function cluster(t: Test) {
  const rig = await CoordinatorRig.make();
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const socket = join(rig.folder, 'c.sock');
  const link = await startLinkServer({ socket, log });
  link.follow(rig.coordinator);
  t.teardown(async () => {
    await link.close();
    await rig.close();
  });
  await rig.addHost('good');
  const applied = await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: MANIFEST });
  t.equal(applied.statusCode, 200);
  // What is counted is told by two reports.
  for (let second = 0; second < 2; second += 1) await rig.second('good', {});
  const connection = connect(socket);
  connection.on('error', () => undefined).resume();
  t.teardown(() => connection.destroy());
  const say = (message: object) => connection.write(encodeFrame(message));
  const hello = (revision: number) =>
    say({ type: 'hello', version: LINK_VERSION, host: { ...HOST, name: 'liar' }, revision });
  const news = new NewsWriter();
  const report = (statuses: InstanceStatus[], events: AgentEvent[] = []) =>
    say({ type: 'report', atMs: 0, revision: 0, ...toWire(news.write(statuses)), events });
  const heardOf = () => rig.coordinator.observed.hosts.get('liar');
  return { rig, lines, connection, hello, report, heardOf };
}

function statusOf(id: string, component: string, calls: number): InstanceStatus {
  const used = { cpuSeconds: calls, memoryBytes: 2 ** 30, ioReadBytes: 0, ioWriteBytes: 0 };
  const latencyBuckets = Array.from({ length: 48 }, () => 0);
  const sample = { ...used, arrived: calls, finished: calls, failed: 0, outstanding: 9, latencyBuckets };
  const size = { cpu: 0.1, memory: 2 ** 26 };
  return { id, app: 'shop', component, phase: 'ready', size, restarts: 0, shards: [], sample };
}

t.test('instances of another host, or of none, count for nothing when a host names them', async (t) => {
  const { rig, hello, report, heardOf } = await cluster(t);
  const sums = () => rig.coordinator.observed.components.get(KEY);
  const before = { instances: sums()?.instances, ready: sums()?.readyCount };
  t.same(before, { instances: 1, ready: 1 });
  hello(0);
  const [real] = [...(rig.coordinator.state.instances.byComponent.get(KEY)?.values() ?? [])];
  for (let second = 1; second <= 3; second += 1) {
    report([statusOf(real?.id ?? '', 'web', second * 1_000), statusOf('shop-web-77', 'web', second * 1_000)]);
  }
  await until(() => heardOf()?.statuses.size === 2);
  await rig.second('good', {});
  t.same({ instances: sums()?.instances, ready: sums()?.readyCount }, before, 'nor does it raise the demand');
  report([]);
  await until(() => heardOf()?.statuses.size === 0);
  t.same({ instances: sums()?.instances, ready: sums()?.readyCount }, before, 'nor takes it away with them');
});

t.test('numbers of the cluster cannot be used up', async (t) => {
  const { rig, lines, connection, hello } = await cluster(t);
  const { revision } = rig.coordinator.state;
  hello(Number.MAX_SAFE_INTEGER);
  await once(connection, 'close');
  t.ok(
    lines.some((line) => line.includes(`revision ${Number.MAX_SAFE_INTEGER}`)),
    'the log says which and why',
  );
  t.equal(rig.coordinator.state.revision, revision);

  const other = await cluster(t);
  other.hello(0);
  other.report([statusOf('shop-web-999999999999999', 'web', 1)]);
  await until(() => other.heardOf()?.statuses.size === 1);
  await other.rig.coordinator.tick();
  t.ok((other.rig.coordinator.state.counters['shop-web'] ?? 0) < 100, 'ids of instances go on as before');
});

t.test('an agent tells events of what is on its host alone', async (t) => {
  const { rig, lines, hello, report, heardOf } = await cluster(t);
  hello(0);
  const event = (app: string, kind: string) => ({ atMs: 1, app, component: 'web', instance: '', kind, message: 'lie' });
  report([], [event('shop', 'no-instance'), event('', 'audit'), event('gone', 'terminated')]);
  await until(() => heardOf()?.appliedRevision === 0);
  const told = rig.coordinator.events.since(0).filter(({ message }) => message === 'lie');
  t.same(
    told.map(({ app }) => app),
    ['gone'],
    'save of an app that is no more',
  );
  t.ok(lines.some((line) => line.includes('"others":2') && line.includes('passed over')));
});
