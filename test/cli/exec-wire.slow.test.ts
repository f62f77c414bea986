import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { type InsideProcess, pipesOf } from '../../agent/exec.js';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { Client } from '../../cli/client.js';
import { createFront } from '../../coordinator/api/front.js';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens, tokenLine } from '../../coordinator/api/tokens.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { ShoalError } from '../../protocol/errors.js';
import { EXEC_PROTOCOL, readFromCommand } from '../../protocol/exec.js';
import { FrameReader } from '../../protocol/frame.js';
import type { ClusterView, EventView } from '../../protocol/http.js';
import { until } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { CoordinatorRig } from '../coordinator/rig.js';
import { runCli, startCli } from './run-cli.js';

const APP = `app: shop
components:
  web: { rootfs: host, command: [node, main.js], count: 1 }
`;
const log = pino({ level: 'silent' });
const OPERATOR = 'operator-token-0123456789';
const READER = 'reader-token-0123456789';

// A folder of its own, not tap's: that goes before what uses it is closed.
const folder = await mkdtemp(join(tmpdir(), 'shoal-exec-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const olga = tokenLine({ name: 'olga', role: 'operate' }, OPERATOR);
const rita = tokenLine({ name: 'rita', role: 'read' }, READER);
await writeFile(join(folder, 'tokens'), `${olga}${rita}`);
await writeFile(join(folder, 'operator'), OPERATOR);
await writeFile(join(folder, 'reader'), READER);

/** Commands of this host in place of those of an instance. */
const commands: InsideProcess[] = [];
const ended = new Set<InsideProcess>();
async function startCommand(id: string, [program = '', ...words]: readonly string[]): Promise<InsideProcess> {
  if (id !== 'shop-web-0') throw new ShoalError('SHOAL_E_NOT_FOUND', `there is no ${id} on this host now`);
  if (program === 'refused') throw new ShoalError('SHOAL_E_CONFLICT', `no process of ${id} runs now`);
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => undefined);
  const inside: InsideProcess = {
    ...pipesOf(child, child),
    end: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      ended.add(inside);
    },
  };
  commands.push(inside);
  return inside;
}

const rig = await CoordinatorRig.make();
const socket = join(rig.folder, 'c.sock');
const links = await startLinkServer({ socket, log });
links.follow(rig.coordinator);
const link = new Link({
  coordinators: [socket],
  host: { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] },
  agent: idleAgent({
    startCommand,
  }),
  fence: await Fence.open(join(rig.folder, 'term')),
  log,
});
const access = { token: null, tokens: new Tokens(join(folder, 'tokens')), loopback: true };
const { coordinator } = rig;
const options = {
  ...access,
  coordinator,
  profiles: links,
  logs: links,
  exec: links,
  secrets: new SecretBox(null, false),
  run: rig.folder,
  version: '0',
  log,
};
const api = await createApi(options);
const view = () => ({}) as ClusterView;
const behind = { api, leads: true, leaderApi: null, onLeaderChange: () => undefined, view };
const leader = createFront({ ...access, behind, log });
const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
await new Promise<void>((resolve) => leader.listen(0, '127.0.0.1', resolve));
const follower = createFront({
  ...access,
  behind: { ...behind, api: null, leads: false, leaderApi: addressOf(leader) },
  log,
});
await new Promise<void>((resolve) => follower.listen(0, '127.0.0.1', resolve));

t.teardown(async () => {
  link.close();
  for (const server of [leader, follower]) {
    server.close();
    server.closeAllConnections();
  }
  await links.close();
  await rig.close();
  await api.close();
});

await rig.addHost('h1');
const applied = await rig.api.inject({
  method: 'PUT',
  url: '/v1/apps/shop',
  payload: APP,
  headers: { 'content-type': 'application/yaml' },
});
if (applied.statusCode !== 200) throw new Error(applied.body);
await rig.second('h1', {});
link.start();
await until(() => links.hosts().includes('h1'));

const given = (server: Server, token: string) => ['--server', addressOf(server), '--token-file', join(folder, token)];
const shoal = (words: string[], server: Server = leader, token = 'operator', input?: string) =>
  runCli(['exec', ...given(server, token), ...words], input === undefined ? {} : { input });

t.test('a command says what it says, ends with its own code, and is told in the audit log', async (t) => {
  const words = ['shop-web-0', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7'];
  for (const server of [leader, follower]) {
    t.same(await shoal(words, server), { code: 7, out: 'out\n', err: 'err\n' });
  }
  t.match(await shoal(['shop-web-0', '--', 'sh', '-c', 'kill -9 $$']), { code: 137 });
  const events = (await rig.api.inject('/v1/events')).json<EventView[]>();
  const audits = events.filter(({ kind }) => kind === 'audit');
  t.match(audits[0]?.message, /^olga \(operate\): exec in shop-web-0: \["sh","-c","echo out; .*exit 7"\]$/);
  await until(() => ended.size === commands.length);
});

t.test('input goes in when it is asked for, and its end too', async (t) => {
  const text = 'x'.repeat(300_000);
  t.same(await shoal(['-i', 'shop-web-0', '--', 'wc', '-c'], leader, 'operator', text), {
    code: 0,
    out: '300000\n',
    err: '',
  });
  t.same(await shoal(['-i', 'shop-web-0', '--', 'cat'], follower, 'operator', text), { code: 0, out: text, err: '' });
  t.match(await shoal(['shop-web-0', '--', 'cat']), { code: 0, out: '' }, 'without -i it has none');
  t.match(await shoal(['-i', 'shop-web-0', '--', 'true'], leader, 'operator', text), { code: 0 }, 'nor is it needed');
});

t.test('who may only read may not, and what cannot be run says why', async (t) => {
  for (const server of [leader, follower]) {
    t.match(await shoal(['shop-web-0', '--', 'id'], server, 'reader'), { code: 4, err: /rita may read/ });
    t.match(await shoal(['shop-web-9', '--', 'id'], server), { code: 3, err: /no instance shop-web-9/ });
    t.match(await shoal(['shop-web-0', '--', 'refused'], server), {
      code: 4,
      err: /no process of shop-web-0 runs now/,
    });
  }
  t.match(await shoal(['shop-web-0', '--', 'a'.repeat(9_000)]), { code: 2, err: /8192 bytes/ });
  t.equal((await rig.api.inject({ method: 'POST', url: '/v1/instances/shop-web-0/exec?word=id' })).statusCode, 400);
  t.match(
    await rig.api.inject({
      method: 'POST',
      url: '/v1/instances/shop-web-0/exec?word=id&terminal=0x24',
      headers: { upgrade: EXEC_PROTOCOL },
    }),
    { statusCode: 400, body: /a terminal has from 1x1/ },
  );
  t.match(await shoal(['-t', 'shop-web-0', '--', 'id'], leader, 'operator', 'x'), {
    code: 2,
    err: /-t needs a terminal as standard input/,
  });
  const refused = await fetch(`${addressOf(leader)}/v1/apps`, { headers: { authorization: `Bearer ${OPERATOR}` } });
  t.equal(refused.status, 200, 'other requests are answered as before');
});

t.test('who reads slowly slows the command down; who leaves ends it', async (t) => {
  const client = new Client({ server: addressOf(leader), token: OPERATOR });
  const path = '/v1/instances/shop-web-0/exec?word=cat&word=/dev/zero';
  const signal = new AbortController().signal;
  const slow: Socket = await client.upgrade('POST', path, EXEC_PROTOCOL, { signal });
  slow.pause();
  const cat = commands.at(-1);
  await until(() => cat?.stdout.isPaused() === true && cat.stdout.readableLength > 0);
  const reader = new FrameReader();
  let bytes = 0;
  slow.on('data', (chunk: Buffer) => {
    for (const each of reader.push(chunk)) {
      const message = readFromCommand(each);
      if (message.type === 'output') bytes += message.bytes.length;
    }
  });
  slow.resume();
  await until(() => bytes > 4 * 2 ** 20);
  slow.destroy();
  await until(() => ended.size === commands.length);
  t.pass('nothing of it is left');
});

t.test('interrupting ends the command', async (t) => {
  const before = commands.length;
  const running = startCli([
    'exec',
    ...given(leader, 'operator'),
    'shop-web-0',
    '--',
    'sh',
    '-c',
    'echo on; exec sleep 60',
  ]);
  await running.printed('on');
  running.child.kill('SIGINT');
  t.equal((await running.ended).code, 130);
  await until(() => ended.size === commands.length);
  t.equal(commands.length, before + 1);
});
