import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Coordinators, jittered, parseAddress } from '../../agent/coordinators.js';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { parseLogQuestion } from '../../agent/log-question.js';
import { Identity } from '../../identity/identity.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { type Desired, type Hello, LINK_VERSION, type ToAgent, type ToCoordinator } from '../../protocol/link.js';
import { until } from '../../scripts/lib/until.js';
import { idleAgent } from './idle-agent.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
const desired = (revision: number): Desired => ({ revision, apps: {}, instances: [], shards: {} });

const folder = await mkdtemp(join(tmpdir(), 'shoal-agent-link-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));

interface FakeCoordinator {
  path: string;
  hellos: Hello[];
  /** Revisions that agents held when they asked for the whole. */
  resyncs: number[];
  /** Ends all connections. */
  hangUp: () => void;
  /** How many connections have ended. */
  ended: () => number;
}

/** A coordinator that says to each hello what `answer` gives for it. */
async function coordinator(
  t: { teardown(action: () => void): void },
  name: string,
  answer: (hello: Hello) => ToAgent[],
  whole: () => ToAgent[] = () => [],
): Promise<FakeCoordinator> {
  const hellos: Hello[] = [];
  const resyncs: number[] = [];
  const sockets = new Set<Socket>();
  let ended = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    const reader = new FrameReader();
    socket.on('error', () => undefined);
    socket.on('close', () => {
      ended += 1;
    });
    socket.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk) as ToCoordinator[]) {
        if (message.type === 'resync') {
          resyncs.push(message.revision);
          for (const each of whole()) socket.write(encodeFrame(each));
        }
        if (message.type !== 'hello') continue;
        hellos.push(message);
        for (const each of answer(message)) socket.write(encodeFrame(each));
      }
    });
  });
  const path = join(folder, `${name}.sock`);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const hangUp = () => sockets.forEach((socket) => void socket.destroy());
  return { path, hellos, resyncs, ended: () => ended, hangUp };
}

async function agent(
  t: { teardown(action: () => void): void },
  coordinators: readonly string[],
  termFile: string,
  apply: (desired: Desired) => Promise<void> = async () => undefined,
  identity: Identity | null = null,
) {
  const applied: number[] = [];
  const fence = await Fence.open(join(folder, termFile));
  const link = new Link({
    coordinators,
    host: HOST,
    agent: idleAgent({
      apply: async (desired: Desired) => {
        await apply(desired);
        applied.push(desired.revision);
      },
    }),
    fence,
    identity,
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => link.close());
  link.start();
  return { applied, link };
}

t.test(
  'whoever leads with a lower term than one before is not obeyed, also after a restart of the agent',
  async (t) => {
    let term = 5;
    let revision = 1;
    const leader = await coordinator(t, 'leader', ({ version }) => [
      { type: 'welcome', version, term },
      { type: 'desired', desired: desired(revision), term },
    ]);
    const first = await agent(t, [leader.path], 'fence.json');
    await until(() => first.applied.length === 1);
    first.link.close();

    term = 4;
    revision = 2;
    const second = await agent(t, [leader.path], 'fence.json');
    await until(() => leader.ended() >= 3);
    t.equal(leader.hellos.at(-1)?.term, 5);
    t.same(second.applied, [], 'a deposed leader has no effect');
    term = 6;
    await until(() => second.applied.length === 1);
    t.same(second.applied, [2]);
  },
);

t.test('an agent speaks the version of an older coordinator, and none that is unknown', async (t) => {
  const old = await coordinator(t, 'old', ({ version }) =>
    version === LINK_VERSION - 1
      ? [
          { type: 'welcome', version },
          { type: 'desired', desired: desired(7) },
        ]
      : [{ type: 'welcome', version: LINK_VERSION - 1 }],
  );
  const { applied } = await agent(t, [old.path], 'old.json');
  await until(() => applied.length === 1);
  t.same(
    old.hellos.map(({ version }) => version),
    [LINK_VERSION, LINK_VERSION - 1],
  );
  const later = await coordinator(t, 'later', () => [{ type: 'welcome', version: LINK_VERSION + 9 }]);
  const other = await agent(t, [later.path], 'later.json');
  await until(() => later.hellos.length === 2);
  t.ok(later.hellos.every(({ version }) => version === LINK_VERSION));
  t.same(other.applied, []);
});

t.test('changes are made of what was said last; of anything else the whole is asked for', async (t) => {
  const web = { id: 'shop-web-1', app: 'shop', component: 'web', size: { cpu: 1, memory: 1 }, draining: false };
  const cart = { ...web, id: 'shop-cart-1', component: 'cart' };
  const seen: Desired[] = [];
  const leader = await coordinator(
    t,
    'changes',
    ({ version }) => [
      { type: 'welcome', version, term: 3 },
      { type: 'desired', desired: { ...desired(1), instances: [web] }, term: 3 },
      { type: 'change', change: { from: 1, revision: 2, instances: [cart] }, term: 3 },
      { type: 'change', change: { from: 1, revision: 2, instances: [cart] }, term: 3 },
      { type: 'change', change: { from: 2, revision: 5, removed: [web.id] }, term: 3 },
      { type: 'change', change: { from: 6, revision: 7, removed: [cart.id] }, term: 3 },
    ],
    () => [{ type: 'desired', desired: desired(7), term: 3 }],
  );
  const { applied } = await agent(t, [leader.path], 'changes.json', async (each) => {
    seen.push(each);
  });
  await until(() => applied.length === 4);
  t.same(applied, [1, 2, 5, 7], 'what came twice was done once');
  t.same(
    seen.map(({ instances }) => instances.map(({ id }) => id)),
    [[web.id], [web.id, cart.id], [cart.id], []],
  );
  t.same(leader.resyncs, [5]);
});

t.test(
  'of what is revoked only a list of serials is taken, by a leader that may be obeyed, and never less',
  async (t) => {
    const own = join(folder, 'revoking');
    await mkdir(own);
    const known = () => readFile(join(own, 'revoked'), 'utf8').catch(() => '');
    const serials = [['7F01', '7F02'], ['7F03'], ['../x'], ['7F04', 4], '7F05', Array(10_001).fill('7F06')];
    let dials = 0;
    const leader = await coordinator(t, 'revoking', ({ version }) => {
      const said = serials[dials] ?? ['7F02'];
      dials += 1;
      return [{ type: 'welcome', version, term: 1 }, { type: 'revoked', term: 1, serials: said } as ToAgent];
    });
    await agent(t, [leader.path], 'revoking.json', undefined, new Identity(own));
    await until(async () => (await known()) === '7F01\n7F02\n');
    while (dials <= serials.length) {
      const before = dials;
      leader.hangUp();
      await until(() => dials > before);
    }
    await until(async () => (await known()) === '7F01\n7F02\n7F03\n');
  },
);

t.test('a term that a full disk does not take ends nobody who did not wait for it, and is tried again', async (t) => {
  let tries = 0;
  const fence = new Fence(0, async () => {
    tries += 1;
    if (tries === 1) throw new Error('ENOSPC');
  });
  // As for what is heard without a lease.
  void fence.admit(3);
  await until(() => tries === 1);
  await new Promise((resolve) => setImmediate(resolve));
  await fence.admit(3);
  t.equal(tries, 2);
});

t.test('what could not be applied is tried again', async (t) => {
  const leader = await coordinator(t, 'full-disk', ({ version }) => [
    { type: 'welcome', version, term: 1 },
    { type: 'desired', desired: desired(1), term: 1 },
  ]);
  let tries = 0;
  const { applied } = await agent(t, [leader.path], 'full-disk.json', async () => {
    tries += 1;
    if (tries < 2) throw new Error('ENOSPC');
  });
  await until(() => applied.length === 1);
  t.equal(tries, 2);
});

t.test('an identity that is away for a moment, as while it is replaced, ends no agent', async (t) => {
  let reads = 0;
  class Replaced extends Identity {
    override credentials() {
      reads += 1;
      return reads === 2 ? super.credentials() : { ca: '', cert: '', key: '', minVersion: 'TLSv1.3' as const };
    }
  }
  const nobody = '127.0.0.1:1';
  await agent(t, [nobody], 'replaced.json', undefined, new Replaced(join(folder, 'no-such-identity')));
  await until(() => reads === 3);
});

t.test('one that does not lead says who does, or the others are tried in turns', async (t) => {
  const mute = await coordinator(t, 'mute', () => [{ type: 'elsewhere', link: null }]);
  const leads = await coordinator(t, 'leads', ({ version }) => [
    { type: 'welcome', version, term: 1 },
    { type: 'desired', desired: desired(1), term: 1 },
  ]);
  const { applied } = await agent(t, [mute.path, leads.path], 'turns.json');
  await until(() => applied.length === 1);

  const addresses = ['/run/a', '10.0.0.1:7947', '[::1]:7947'].map(parseAddress);
  const coordinators = new Coordinators(addresses);
  const told = { host: '10.0.0.9', port: 1 };
  t.same(coordinators.take(), { path: '/run/a' });
  coordinators.tell('10.0.0.9:1');
  t.same([coordinators.take(), coordinators.take(), coordinators.take()], [told, ...addresses.slice(1)]);
  // Nobody may send an agent to a file of its own host.
  coordinators.tell('/tmp/evil');
  t.same(coordinators.take(), addresses[0]);
  coordinators.tell('nonsense');
  t.same(coordinators.take(), addresses[1]);
  for (const wrong of ['', 'host', 'host:0', 'host:70000', 'a b:1'])
    t.throws(() => parseAddress(wrong), { code: 'SHOAL_E_USAGE' });
  t.throws(() => new Coordinators([]), { code: 'SHOAL_E_USAGE' });
  t.equal(
    jittered(100, () => 0),
    50,
  );
  t.equal(
    jittered(100, () => 1),
    100,
  );
});

t.test('who asks for the log of something with a path for a name, or from nowhere on, is no coordinator', async (t) => {
  const from = { tail: 1 };
  const good = { kind: 'instance', id: 'shop-web-0', from } as const;
  t.same(parseLogQuestion({ request: 1, of: good }), good);
  const cursor = { kind: 'build', id: 'a'.repeat(16), from: { file: '', position: 0 } } as const;
  t.same(parseLogQuestion({ request: 1, of: cursor }), cursor);
  const wrong: unknown[] = [
    undefined,
    { ...good, id: '../../etc-0' },
    { ...good, id: 'shop/web-0' },
    { ...good, kind: 'build' },
    { ...cursor, kind: 'instance' },
    { ...cursor, id: '..' },
    { ...good, kind: 'host' },
    { ...good, from: undefined },
    { ...good, from: { tail: -1 } },
    { ...good, from: { tail: 100_001 } },
    { ...good, from: { file: 1, position: 0 } },
    { ...good, from: { file: 'x'.repeat(65), position: 0 } },
    { ...good, from: { file: '', position: 0.5 } },
  ];
  for (const of of wrong) t.throws(() => parseLogQuestion({ request: 1, of }), { code: 'SHOAL_E_FRAME' });
  t.throws(() => parseLogQuestion({ of: good }), { code: 'SHOAL_E_FRAME' });
});
