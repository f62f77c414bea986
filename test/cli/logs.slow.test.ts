import { appendFile, mkdir, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import type { InstanceView, Problem } from '../../protocol/http.js';
import { newsOf, toWire } from '../../protocol/instance-news.js';
import { LIMITS } from '../../protocol/limits.js';
import { type BuildStatus, LINK_VERSION, LINK_VERSION_LOGS, type ToAgent } from '../../protocol/link.js';
import type { LogQuestion } from '../../protocol/log.js';
import { readLogPiece } from '../../protocol/log-files.js';
import { until } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { CoordinatorRig } from '../coordinator/rig.js';
import { type RunningCli, runCli, startCli } from './run-cli.js';

const APP = `app: shop
components:
  near: { rootfs: host, command: [x], count: 1, place: { require: { at: h1 } } }
  far: { rootfs: host, command: [x], count: 1, place: { require: { at: h2 } } }
  old: { rootfs: host, command: [x], count: 1, place: { require: { at: h3 } } }
`;
const BUILD = 'b'.repeat(16);
const build: BuildStatus = {
  id: BUILD,
  app: 'shop',
  component: 'far',
  revision: 'abc',
  state: 'built',
  step: '',
  why: '',
  startedMs: 1,
  endedMs: 2,
};
const info = (name: string) => ({
  name,
  cores: 8,
  memoryBytes: 2 ** 34,
  kernel: '6.1',
  degraded: [],
  labels: { at: name },
});
const log = pino({ level: 'silent' });

const rig = await CoordinatorRig.make();
const socket = join(rig.folder, 'c.sock');
const warnings: string[] = [];
const links = await startLinkServer({
  socket,
  log: pino({ level: 'warn' }, { write: (line: string) => warnings.push(line) }),
});
links.follow(rig.coordinator);
rig.logs.readLog = links.readLog;
const server = await rig.api.listen({ host: '127.0.0.1', port: 0 });
const shoal = ['logs', '--server', server];

/** The coordinator's own host is h1; the logs of each are in its folder. */
const runOf = (host: string) => join(rig.folder, host === 'h1' ? 'run' : host);
const folderOf = (host: string, id: string, kind = 'instances') => join(runOf(host), kind, id);
const asked: LogQuestion[] = [];
const agents = new Map<string, Link>();
const clis: RunningCli[] = [];

async function startAgent(host: string): Promise<void> {
  let applied = 0;
  const agent = idleAgent({
    apply: async ({ revision }) => {
      applied = revision;
    },
    report: async () => ({ instances: [], events: [], builds: [build] }),
    readLog: (question) => {
      const { kind, id, from } = question;
      asked.push(question);
      return readLogPiece(folderOf(host, id, `${kind}s`), from);
    },
  });
  Object.defineProperty(agent, 'applied', { get: () => applied });
  const link = new Link({
    coordinators: [socket],
    host: info(host),
    agent,
    fence: await Fence.open(join(rig.folder, `term-${host}`)),
    log,
  });
  agents.set(host, link);
  link.start();
  await until(() => links.hosts().includes(host));
}

async function stopAgent(host: string): Promise<void> {
  agents.get(host)?.close();
  await until(() => !links.hosts().includes(host));
}

/** An agent by hand, of this link version, that answers what it is asked with `answer`. */
async function rawAgent(host: string, version: number, answer: (message: ToAgent) => unknown = () => undefined) {
  const raw = connect(socket);
  const reader = new FrameReader();
  raw.on('data', (chunk: Buffer) => {
    for (const message of reader.push(chunk) as ToAgent[]) {
      const said = answer(message);
      if (said !== undefined) raw.write(encodeFrame(said));
    }
  });
  raw.on('error', () => undefined);
  raw.write(encodeFrame({ type: 'hello', version, host: info(host), revision: 0 }));
  const nothing = toWire(newsOf([]), version);
  raw.write(encodeFrame({ type: 'report', atMs: 1, revision: 0, ...nothing, events: [] }));
  await until(() => links.hosts().includes(host));
  return raw;
}

async function writeLog(host: string, id: string, text: string, name = 'log', kind = 'instances'): Promise<void> {
  await mkdir(folderOf(host, id, kind), { recursive: true });
  await appendFile(join(folderOf(host, id, kind), name), text);
}

const problemOf = async (path: string) => (await rig.api.inject(path)).json<Problem>();

t.teardown(async () => {
  for (const cli of clis) cli.child.kill();
  for (const link of agents.values()) link.close();
  await links.close();
  await rig.close();
});

for (const host of ['h1', 'h2']) await startAgent(host);
const first = await rawAgent('h3', LINK_VERSION);
for (const host of ['h1', 'h2', 'h3']) await until(() => rig.coordinator.observed.hosts.get(host)?.connected === true);
await until(() => rig.coordinator.observed.hosts.get('h2')?.builds.length === 1);
const applied = await rig.api.inject({
  method: 'PUT',
  url: '/v1/apps/shop',
  payload: APP,
  headers: { 'content-type': 'application/yaml' },
});
if (applied.statusCode !== 200) throw new Error(applied.body);
await until(async () => {
  await rig.coordinator.tick();
  return (await rig.api.inject('/v1/instances')).json<InstanceView[]>().length === 3;
});

first.destroy();

t.test('`shoal logs` of an instance on another host', async (t) => {
  t.match(await runCli([...shoal, 'shop-far-0']), { code: 3, err: /instance shop-far-0 has no log yet/ });
  await writeLog('h2', 'shop-far-0', 'one\ntwo\n', 'log.1');
  await writeLog('h2', 'shop-far-0', 'three\n');
  t.match(await runCli([...shoal, 'shop-far-0']), { code: 0, out: 'one\ntwo\nthree\n' });
  t.match(await runCli([...shoal, 'shop-far-0', '--tail', '2']), { code: 0, out: 'two\nthree\n' });
  t.same(asked.at(-1), { kind: 'instance', id: 'shop-far-0', from: { tail: 2 } });
  await writeLog('h1', 'shop-near-0', 'near\n');
  t.match(await runCli([...shoal, 'shop-near-0']), { code: 0, out: 'near\n' });
});

t.test('a long one comes whole, piece by piece, each when the one before was taken', async (t) => {
  const text = `${'é'.repeat(60)}\n`.repeat(30_000);
  await writeLog('h2', 'shop-far-0', text);
  const before = asked.length;
  const { body } = await rig.api.inject('/v1/instances/shop-far-0/logs?tail=30000');
  t.equal(body, text);
  t.equal(asked.length - before, Math.ceil(Buffer.byteLength(text) / LIMITS.logPieceBytesMax));

  await writeLog('h2', 'shop-far-0', 'x'.repeat(40 * 1024 ** 2));
  const abort = new AbortController();
  const atOnce = asked.length;
  const answer = await fetch(`${server}/v1/instances/shop-far-0/logs`, { signal: abort.signal });
  // Nothing of it is read: what the sockets between do not hold is not asked for.
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.ok(asked.length - atOnce < 100, `${asked.length - atOnce} pieces`);
  abort.abort();
  await answer.text().catch(() => undefined);
  await rm(join(folderOf('h2', 'shop-far-0'), 'log'));
});

t.test('an agent is not read more slowly for what it was asked', async (t) => {
  const question: LogQuestion = { kind: 'instance', id: 'shop-far-0', from: { tail: 0 } };
  const times = LIMITS.agentMessagesBurstMax / 20;
  // Twice what it may say unasked, and what comes meanwhile.
  await Promise.all(
    Array.from({ length: 40 }, async () => {
      for (let i = 0; i < times; i += 1) await links.readLog('h2', question);
    }),
  );
  t.same(warnings, []);
});

t.test('followed across a rotation, and while its agent is away', async (t) => {
  const folder = folderOf('h2', 'shop-far-0');
  await rm(folder, { recursive: true });
  const cli = startCli([...shoal, '-f', 'shop-far-0', '--tail', '1']);
  clis.push(cli);
  await until(() => asked.filter(({ from }) => 'position' in from && from.file === '').length > 1);
  await writeLog('h2', 'shop-far-0', 'first\nsecond\n');
  await cli.printed('second\n');
  await rename(join(folder, 'log'), join(folder, 'log.1'));
  await writeLog('h2', 'shop-far-0', 'third\n');
  await cli.printed('third\n');
  await stopAgent('h2');
  t.match(await problemOf('/v1/instances/shop-far-0/logs'), { status: 503, code: 'SHOAL_E_UNREACHABLE', detail: /h2/ });
  await writeLog('h2', 'shop-far-0', 'fourth\n');
  await new Promise((resolve) => setTimeout(resolve, 2 * LIMITS.logLookMs));
  await startAgent('h2');
  await cli.printed('fourth\n');
  t.equal(cli.out(), 'first\nsecond\nthird\nfourth\n');
  cli.child.kill('SIGINT');
  await cli.ended;
  await new Promise((resolve) => setTimeout(resolve, 2 * LIMITS.logLookMs));
  const before = asked.length;
  await new Promise((resolve) => setTimeout(resolve, 2 * LIMITS.logLookMs));
  t.equal(asked.length, before, 'who has left asks no more');
});

t.test('on the coordinator\u2019s own host it is read without an agent too', async (t) => {
  await stopAgent('h1');
  t.equal((await rig.api.inject('/v1/instances/shop-near-0/logs')).body, 'near\n');
  await startAgent('h1');
});

t.test('of the hosts that have made a build, one that has its log', async (t) => {
  const url = `/v1/builds/${BUILD}/logs`;
  t.match(await problemOf(url), { code: 'SHOAL_E_NOT_FOUND', detail: `build ${BUILD} has no log yet` });
  await writeLog('h2', BUILD, 'step 1\nstep 2\n', 'log', 'builds');
  t.equal((await rig.api.inject(url)).body, 'step 1\nstep 2\n');
  t.match(await runCli([...shoal, '--build', 'shop/far', '--tail', '1']), { code: 0, out: 'step 2\n' });
  await stopAgent('h2');
  t.match(await problemOf(url), { code: 'SHOAL_E_UNREACHABLE', detail: /h2/ });
  await startAgent('h2');
});

t.test('an agent of before says what to do, and one that answers with what is no piece is disconnected', async (t) => {
  const url = '/v1/instances/shop-old-0/logs';
  const old = await rawAgent('h3', LINK_VERSION_LOGS - 1);
  for (const query of ['', '?follow=1'])
    t.match(await problemOf(`${url}${query}`), {
      status: 501,
      code: 'SHOAL_E_HOST',
      detail: 'the agent of h3 cannot tell what is in its logs: install this version there too',
    });
  old.destroy();
  await until(() => !links.hosts().includes('h3'));
  const next = { file: '1-1', position: 1 };
  const wrong: object[] = [
    { bytes: 'text', next },
    { bytes: Buffer.alloc(LIMITS.logPieceBytesMax + 1), next },
    { bytes: Buffer.alloc(1), next: { ...next, position: -1 } },
    { bytes: Buffer.alloc(1), next: { ...next, file: 'x'.repeat(65) } },
    { bytes: Buffer.alloc(1) },
  ];
  for (const piece of wrong) {
    const raw = await rawAgent('h3', LINK_VERSION, (message) =>
      message.type === 'log' ? { type: 'log', request: message.request, ...piece } : undefined,
    );
    t.match(await problemOf(url), { code: 'SHOAL_E_UNREACHABLE', detail: /not one/ });
    raw.destroy();
    await until(() => !links.hosts().includes('h3'));
  }
  const raw = await rawAgent('h3', LINK_VERSION, (message) =>
    message.type === 'log' ? { type: 'no-log', request: message.request, why: 'EIO' } : undefined,
  );
  t.match(await problemOf(url), { code: 'SHOAL_E_HOST', detail: 'EIO' });
  raw.destroy();
});

t.test('a followed log ends with its instance', async (t) => {
  const cli = startCli([...shoal, '-f', 'shop-far-0']);
  clis.push(cli);
  await cli.printed('fourth\n');
  await rig.api.inject({ method: 'DELETE', url: '/v1/apps/shop' });
  await until(async () => {
    await rig.coordinator.tick();
    return (await rig.api.inject('/v1/instances')).json<InstanceView[]>().every(({ id }) => id !== 'shop-far-0');
  });
  t.match(await cli.ended, { code: 0 });
});
