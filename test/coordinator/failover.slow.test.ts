import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import type { Desired } from '../../protocol/link.js';
import { CoordinatorsRig, type Seat } from '../../scripts/lib/cluster/coordinators.js';
import { EtcdRig } from '../../scripts/lib/cluster/etcd.js';
import { until } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { MANIFEST } from './rig.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };

const etcd = await EtcdRig.start(1);
t.teardown(() => etcd.close());

/** An agent without instances: the real link, and what it was told. */
async function fakeAgent(t: { teardown(action: () => Promise<void>): void }, coordinators: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-link-'));
  const fence = await Fence.open(join(folder, 'term.json'));
  const told: Desired[] = [];
  const agent = {
    ...idleAgent(),
    get applied() {
      return told.at(-1)?.revision ?? 0;
    },
    apply: async (desired: Desired) => {
      told.push(desired);
    },
  };
  const link = new Link({ coordinators, host: HOST, agent, fence, log: pino({ level: 'silent' }) });
  t.teardown(async () => {
    link.close();
    await rm(folder, { recursive: true, force: true });
  });
  link.start();
  return { told, fence };
}

const put = (seat: Seat, path: string, body: string, type = 'application/yaml') =>
  fetch(seat.api + path, { method: 'PUT', headers: { 'content-type': type }, body });

t.test('one coordinator leads; when it is killed another does, with all that was acknowledged', async (t) => {
  const rig = await CoordinatorsRig.start(3, etcd.endpoints, ['--etcd-prefix', '/failover/']);
  t.teardown(() => rig.close());
  const first = await rig.untilLed();
  const followers = rig.seats.filter((seat) => seat !== first);
  for (const seat of followers) await rig.untilFollows(seat);
  const [one, two] = followers as [Seat, Seat];

  // The agent is told of a follower only, and finds the leader.
  const { told, fence } = await fakeAgent(t, [one.socket, one.link, two.link]);
  const connected = async (seat: Seat) => {
    const response = await fetch(`${seat.api}/v1/hosts`);
    return response.ok && ((await response.json()) as { connected: boolean }[])[0]?.connected === true;
  };
  await until(() => connected(first));
  t.equal((await put(one, '/v1/apps/shop', MANIFEST)).status, 200, 'a follower takes changes for the leader');
  await until(() => told.some(({ instances }) => instances.length === 2));
  // A busy machine may have changed leaders before.
  const term = (await rig.view(first))?.term ?? 0;
  t.equal(fence.term, term);
  t.match((await (await fetch(`${two.api}/v1/apps`)).json())[0], { app: 'shop' });
  t.equal((await put(one, '/v1/apps/shop', 'app: shop')).status, 400, 'its refusals are passed on');

  // A stream through a follower.
  const stream = follow(one, 0);
  await until(() => stream.ids.length > 0);

  const killedMs = performance.now();
  await rig.end(first);
  const second = await rig.untilLed();
  const tookMs = performance.now() - killedMs;
  t.comment(`fail-over in ${Math.round(tookMs)} ms`);
  t.match((await (await fetch(`${second.api}/v1/apps`)).json())[0], { app: 'shop' });
  const after = (await rig.view(second))?.term ?? 0;
  t.ok(after > term, `${after} > ${term}`);
  await until(() => connected(second));
  await until(() => fence.term >= after);
  await until(() => stream.ended);
  const last = Math.max(...stream.ids);
  const other = rig.seats.find((seat) => seat !== first && seat !== second) as Seat;
  const again = follow(other, last);
  await until(() => again.ids.length > 0);
  t.ok(Math.min(...again.ids) > last, 'ids rise across leaders');

  // It stands still instead: by the time it goes on, another leads, and it does nothing.
  second.child?.kill('SIGSTOP');
  rig.launch(first);
  await until(async () => (await rig.view(other))?.role === 'leads' || (await rig.view(first))?.role === 'leads');
  second.child?.kill('SIGCONT');
  await rig.untilFollows(second);
  await until(() => again.ended);
  t.equal((await put(second, '/v1/apps/shop/components/web/scale', '{"count":2}', 'application/json')).status, 200);
  await until(() => fence.term > after);

  // Stopped in good order: the next one does not wait for the lease.
  const third = await rig.untilLed();
  const askedMs = performance.now();
  await rig.end(third, 'SIGTERM');
  await rig.untilLed();
  t.comment(`after a stop in good order in ${Math.round(performance.now() - askedMs)} ms`);
});

t.test('while etcd is away what was known is read, nothing is changed, and it is said', async (t) => {
  const rig = await CoordinatorsRig.start(2, etcd.endpoints, ['--etcd-prefix', '/away/']);
  t.teardown(() => rig.close());
  const leader = await rig.untilLed();
  const other = rig.seats.find((seat) => seat !== leader) as Seat;
  await rig.untilFollows(other);
  t.equal((await put(leader, '/v1/apps/shop', MANIFEST)).status, 200);
  await etcd.kill(0);
  await until(async () => (await rig.view(leader))?.role === 'waits');
  t.match(await rig.view(leader), { store: { engine: 'etcd', reachable: false } });
  for (const seat of [leader, other]) {
    const read = await fetch(`${seat.api}/v1/apps`);
    t.equal(read.status, 200, `${seat.name} answers`);
    t.ok(read.headers.has('shoal-stale-seconds'));
    const refused = await put(seat, '/v1/apps/shop', MANIFEST);
    t.equal(refused.status, 503);
    t.match(await refused.json(), { code: 'SHOAL_E_STORE_AWAY', detail: /is etcd up at/ });
  }
  t.equal((await fetch(`${leader.api}/healthz`)).status, 503);
  etcd.launch(0);
  const back = await rig.untilLed();
  t.equal((await put(back, '/v1/apps/shop', MANIFEST)).status, 200);
});

interface Stream {
  ids: number[];
  ended: boolean;
}

/** Follows the events of a coordinator until it ends the stream. */
function follow(seat: Seat, after: number): Stream {
  const stream: Stream = { ids: [], ended: false };
  const end = () => {
    stream.ended = true;
  };
  const headers = { accept: 'text/event-stream', 'last-event-id': String(after) };
  const asked = request(`${seat.api}/v1/events`, { headers }, (response) => {
    response.setEncoding('utf8');
    response.on('data', (text: string) => {
      for (const [, id] of text.matchAll(/^id: (\d+)$/gm)) stream.ids.push(Number(id));
    });
    response.on('close', end);
    response.on('error', end);
  });
  asked.on('error', end);
  asked.end();
  return stream;
}
