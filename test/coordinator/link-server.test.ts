import { stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { startLinkServer } from '../../coordinator/link-server.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { newsOf, toWire } from '../../protocol/instance-news.js';
import { LIMITS } from '../../protocol/limits.js';
import { LINK_VERSION, LINK_VERSION_CHANGES, LINK_VERSION_MIN, type ToAgent } from '../../protocol/link.js';
import { CoordinatorRig, MANIFEST } from './rig.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };

const YAML = { 'content-type': 'application/yaml' };
const NOTHING = toWire(newsOf([]));

/** The agent's end of a link, by hand. */
class FakeAgent {
  readonly messages: ToAgent[] = [];
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #wake = () => {};

  constructor(path: string) {
    this.#socket = connect(path);
    const reader = new FrameReader();
    this.#socket.on('data', (chunk: Buffer) => {
      this.messages.push(...(reader.push(chunk) as ToAgent[]));
      this.#wake();
    });
    this.#socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  send(message: unknown): void {
    this.#socket.write(encodeFrame(message));
  }

  raw(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  hello(name = 'h1'): void {
    this.send({ type: 'hello', version: LINK_VERSION, host: { ...HOST, name }, revision: 0 });
  }

  async until(condition: (messages: ToAgent[]) => boolean): Promise<void> {
    while (!condition(this.messages)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  end(): void {
    this.#socket.destroy();
  }
}

async function withLink(test: { teardown(action: () => Promise<void>): void }) {
  const rig = await CoordinatorRig.make();
  const socket = join(rig.folder, 'c.sock');
  const link = await startLinkServer({ socket, log: pino({ level: 'silent' }) });
  link.follow(rig.coordinator);
  test.teardown(async () => {
    await link.close();
    await rig.close();
  });
  return { rig, socket, link };
}

t.test('an agent is welcomed, told what its host shall be, and told again when that changes', async (t) => {
  const { rig, socket } = await withLink(t);
  t.equal((await stat(socket)).mode & 0o777, 0o600);
  const agent = new FakeAgent(socket);
  agent.hello();
  await agent.until((messages) => messages.some((each) => each.type === 'desired'));
  t.match(agent.messages[0], { type: 'welcome', version: LINK_VERSION });
  agent.send({ type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [] });
  const headers = { 'content-type': 'application/yaml' };
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers, payload: MANIFEST });
  await rig.coordinator.tick();
  const added = () =>
    agent.messages.flatMap((each) => (each.type === 'change' ? (each.change.instances ?? []) : [])).map(({ id }) => id);
  await agent.until(() => added().length === 2);
  t.equal((await rig.api.inject('/v1/hosts')).json()[0].connected, true);
  const ports = [{ app: 'shop', component: 'web', host: 8080 }];
  agent.send({ type: 'report', atMs: 2, revision: 0, ...NOTHING, events: [], ports });
  const known = () => rig.coordinator.observed.hosts.get(HOST.name)?.ports;
  while (known()?.length !== 1) await new Promise((resolve) => setImmediate(resolve));
  t.same(known(), ports);
  agent.end();
});

t.test('who breaks the protocol is disconnected and disturbs no other', async (t) => {
  const { socket } = await withLink(t);
  const good = new FakeAgent(socket);
  good.hello('good');
  await good.until((messages) => messages.length >= 2);
  const tooLong = Buffer.alloc(4);
  tooLong.writeUInt32LE(LIMITS.frameBytesMax + 1);
  const bad: ((agent: FakeAgent) => void)[] = [
    (agent) => agent.raw(tooLong),
    (agent) => agent.raw(Buffer.from([1, 0, 0, 0, 0x92])),
    (agent) => agent.send('text'),
    (agent) => agent.send({ type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [] }),
    (agent) => agent.send({ type: 'hello', version: LINK_VERSION, host: { ...HOST, name: '../x' }, revision: 0 }),
    (agent) => agent.send({ type: 'hello', version: LINK_VERSION, host: { ...HOST, cores: -1 }, revision: 0 }),
    (agent) => agent.send({ type: 'hello', version: LINK_VERSION + 1, host: HOST, revision: 0 }),
    (agent) => {
      agent.hello('twice');
      agent.hello('twice');
    },
    (agent) => {
      agent.hello('portless');
      const ports = [{ app: 'a', component: 'web', host: 0 }];
      agent.send({ type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [], ports });
    },
    (agent) => {
      agent.hello('liar');
      agent.send({
        type: 'report',
        atMs: 1,
        revision: 0,
        ...NOTHING,
        ids: ['x'],
        instances: [{ id: 'x' }],
        events: [],
      });
    },
  ];
  for (const act of bad) {
    const agent = new FakeAgent(socket);
    act(agent);
    await agent.closed;
  }
  const before = good.messages.length;
  good.send({ type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [] });
  t.ok(before >= 2, 'the good one is still there');
  const second = new FakeAgent(socket);
  second.hello('good');
  await good.closed;
  t.pass('an agent of the same host takes over');
  second.end();
});

t.test(
  'an agent of the version before is welcomed in it; one of a later term than the leader is not taken',
  async (t) => {
    const { rig, socket } = await withLink(t);
    const old = new FakeAgent(socket);
    old.send({ type: 'hello', version: LINK_VERSION_MIN, host: { ...HOST, name: 'old' }, revision: 0 });
    await old.until((messages) => messages.length >= 2);
    t.match(old.messages[0], { type: 'welcome', version: LINK_VERSION_MIN, term: rig.coordinator.term });
    const ahead = new FakeAgent(socket);
    ahead.send({ type: 'hello', version: LINK_VERSION, host: HOST, revision: 0, term: rig.coordinator.term + 1 });
    await ahead.closed;
    t.same(ahead.messages, []);
    old.end();
  },
);

t.test('who knows no changes gets the whole each time; who does gets it first and when it asks', async (t) => {
  const { rig, socket } = await withLink(t);
  const agents = { old: new FakeAgent(socket), new: new FakeAgent(socket) };
  agents.old.send({ type: 'hello', version: LINK_VERSION_CHANGES - 1, host: { ...HOST, name: 'old' }, revision: 0 });
  agents.new.hello('new');
  const isWhole = ({ type }: ToAgent) => type === 'desired';
  for (const each of Object.values(agents)) {
    await each.until((messages) => messages.some(isWhole));
    each.send({ type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [] });
  }
  const ports = MANIFEST.replace('    calls: [cart]', '    ports: [{name: http, host: 8080}]');
  await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload: ports });
  await agents.old.until((messages) => messages.filter(isWhole).length >= 2);
  await agents.new.until((messages) => messages.some(({ type }) => type === 'change'));
  t.ok(agents.old.messages.every(({ type }) => type !== 'change'));
  t.equal(agents.new.messages.filter(isWhole).length, 1);
  agents.new.send({ type: 'resync', revision: 0 });
  await agents.new.until((messages) => messages.filter(isWhole).length === 2);
  const whole = agents.new.messages.findLast((each) => each.type === 'desired');
  t.equal(whole?.type === 'desired' && whole.desired.revision, rig.coordinator.state.revision);
  for (const each of Object.values(agents)) each.end();
});

t.test('an agent is asked for a profile, and its answer is looked at', async (t) => {
  const { link, socket } = await withLink(t);
  const of = { app: 'shop', component: 'web', kind: 'cpu', fromMs: 0, toMs: 1 } as const;
  await t.rejects(link.ask('h1', of), { code: 'SHOAL_E_UNREACHABLE' });
  const agent = new FakeAgent(socket);
  agent.hello();
  await agent.until((messages) => messages.some(({ type }) => type === 'desired'));
  t.same(link.hosts(), ['h1']);
  const asked = async (count: number) => {
    await agent.until((messages) => messages.filter(({ type }) => type === 'profile').length === count);
    const last = agent.messages.findLast((each) => each.type === 'profile');
    return last?.type === 'profile' ? last : { request: -1, of: null };
  };
  const profile = { kind: 'cpu', fromMs: 0, toMs: 1, hertz: 99, lost: 0, functions: [], stacks: [] } as const;
  const first = link.ask('h1', of);
  const question = await asked(1);
  t.same(question.of, of);
  agent.send({ type: 'profile', request: question.request + 5, profile });
  agent.send({ type: 'profile', request: question.request, profile });
  t.same(await first, profile);
  const second = link.ask('h1', of);
  agent.send({ type: 'no-profile', request: (await asked(2)).request, why: 'an old kernel' });
  await t.rejects(second, { code: 'SHOAL_E_HOST', message: 'an old kernel' });
  const many = Array.from({ length: 16 }, () => link.ask('h1', of));
  const ends = Promise.all(many.map((each) => t.rejects(each, { code: 'SHOAL_E_UNREACHABLE' })));
  await t.rejects(link.ask('h1', of), { code: 'SHOAL_E_OVERLOADED' });
  agent.send({ type: 'profile', request: 1, profile: { ...profile, stacks: [{ frames: [3], count: 1, seconds: 1 }] } });
  await agent.closed;
  await ends;
});

t.test(
  'of a build that two agents need the first is left to build, and the other is told what it has built',
  async (t) => {
    const { rig, socket } = await withLink(t);
    const payload = 'app: site\ncomponents:\n  web:\n    build: /srv/site\n';
    await rig.api.inject({ method: 'PUT', url: '/v1/apps/site', headers: YAML, payload });
    const id = '0123456789abcdef';
    const agents = ['h1', 'h2'].map((name) => {
      const agent = new FakeAgent(socket);
      const host = { ...HOST, name, fabric: `${name}:7000` };
      agent.send({ type: 'hello', version: LINK_VERSION, host, revision: 0 });
      return agent;
    });
    const [first, second] = agents as [FakeAgent, FakeAgent];
    const report = { type: 'report', atMs: 1, revision: 0, ...NOTHING, events: [] };
    for (const agent of agents) {
      await agent.until((messages) => messages.some((each) => each.type === 'desired'));
      agent.send(report);
    }
    let asked = 0;
    const ask = async (agent: FakeAgent, image: string) => {
      asked += 1;
      const request = asked;
      agent.send({ type: 'seeds-wanted', request, image });
      const isAnswer = (each: ToAgent) => each.type === 'seeds' && each.request === request;
      await agent.until((messages) => messages.some(isAnswer));
      return agent.messages.find(isAnswer);
    };
    const reference = `build:${id}`;
    t.strictSame(await ask(first, reference), { type: 'seeds', request: 1, hosts: [] });
    t.strictSame(await ask(second, reference), { type: 'seeds', request: 2, hosts: [], builder: 'h1' });
    const manifest = `sha256:${'a'.repeat(64)}`;
    const build = {
      id,
      app: 'site',
      component: 'web',
      revision: 'ab',
      state: 'built',
      step: '',
      why: '',
      startedMs: 1,
    };
    first.send({ ...report, builds: [{ ...build, endedMs: 2, image: manifest }] });
    // Its reports are taken in order with its questions.
    await ask(first, reference);
    const hosts = [{ host: 'h1', address: 'h1:7000' }];
    t.strictSame(await ask(second, reference), { type: 'seeds', request: 4, hosts, manifest });
    for (const agent of agents) agent.end();
  },
);
