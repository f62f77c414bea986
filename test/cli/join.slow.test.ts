import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { AddressLimit } from '../../coordinator/address-limit.js';
import { createFront, STRANGER_RATES } from '../../coordinator/api/front.js';
import { createApi } from '../../coordinator/api/server.js';
import { Tokens } from '../../coordinator/api/tokens.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { freePorts } from '../../scripts/lib/cluster/etcd.js';
import { until, within } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { CoordinatorRig } from '../coordinator/rig.js';
import { runCli as runUnbounded } from './run-cli.js';

const CLOSE_MS_MAX = 20_000;
/** Of a command within this process: what it asks has a bound of its own, which is to be reached first. */
const COMMAND_MS_MAX = 90_000;
const runCli: typeof runUnbounded = (words, options) =>
  within(`shoal ${words.slice(0, 2).join(' ')}`, COMMAND_MS_MAX, runUnbounded(words, options));

// A folder of its own, not tap's: that goes before what uses it is closed.
const folder = await mkdtemp(join(tmpdir(), 'shoal-join-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);
const authority = new Authority(at('authority'));
await authority.init('test');
await authority.issue('coordinator', 'c1', 1, at('c1'));
await writeFile(at('tokens'), '');
const adminToken = await runCli(['token', 'create', 'ann', '--role', 'admin', '--tokens', at('tokens')]);
await writeFile(at('admin'), adminToken.out);
const operateToken = await runCli(['token', 'create', 'op', '--role', 'operate', '--tokens', at('tokens')]);
await writeFile(at('operator'), operateToken.out);

const rig = await CoordinatorRig.make();
const [linkPort = 0] = await freePorts(1);
const lines: string[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
const identity = new Identity(at('c1'));
const network = { host: '127.0.0.1', port: linkPort };
const links = await startLinkServer({ socket: at('c.sock'), network, identity, log });
links.follow(rig.coordinator);
const access = { token: null, tokens: new Tokens(at('tokens')), loopback: true };
const api = await createApi({
  ...access,
  coordinator: rig.coordinator,
  profiles: rig.profiles,
  logs: rig.logs,
  exec: {
    exec: () => Promise.reject(new Error('nobody asks')),
    openState: () => Promise.reject(new Error('nobody asks')),
  },
  secrets: new SecretBox(null, false),
  run: folder,
  version: '0',
  authority,
  link: `127.0.0.1:${linkPort}`,
  log,
});
const behind = { api, leads: true, leaderApi: null, onLeaderChange: () => undefined };
const front = createFront({
  ...access,
  tls: identity,
  behind: { ...behind, view: () => Promise.reject(new Error('nobody asks')) as never },
  // All that is asked here within a few seconds comes from one address.
  strangers: new AddressLimit(STRANGER_RATES, () => 1_000 * performance.now()),
  log,
});
await within('the API to listen', CLOSE_MS_MAX, new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve)));
const server = `https://127.0.0.1:${(front.address() as AddressInfo).port}`;
t.teardown(async () => {
  front.close();
  front.closeAllConnections();
  await within('the link server to close', CLOSE_MS_MAX, links.close());
  await within('the API to close', CLOSE_MS_MAX, api.close());
  await within('the coordinator to stop', CLOSE_MS_MAX, rig.close());
});

/** The rig's clock stands still, the certificates' does not. */
const now = () => {
  rig.nowMs = Date.now();
};
now();
const asked = (...words: string[]) =>
  runCli([...words, '--server', server, '--ca', at('c1', 'ca.crt'), '--token-file', at('admin')]);
const token = async (...words: string[]) => {
  const { out, err } = await asked('token', 'create', 'test', '--join', ...words);
  if (err !== '') throw new Error(err);
  return out.trim();
};
const joining = (name: string, secret: string, ...words: string[]) =>
  runCli(['join', server, '--name', name, '--folder', at('hosts', name), '--no-start', ...words], {
    env: { SHOAL_JOIN_TOKEN: secret },
  });
const connected = (name: string) => rig.coordinator.observed.hosts.get(name)?.connected === true;

/** An agent that goes by what `shoal join` has written. */
async function agentOf(name: string): Promise<Link> {
  const [, host = '', folderOfIdentity = '', socket = ''] =
    /^OPTIONS=--name (\S+) --identity (\S+) --socket (\S+)/.exec(
      await readFile(at('hosts', name, 'agent.env'), 'utf8'),
    ) ?? [];
  const link = new Link({
    coordinators: [socket],
    host: { name: host, cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] },
    agent: idleAgent(),
    fence: new Fence(0, async () => undefined),
    identity: new Identity(folderOfIdentity),
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => link.close());
  link.start();
  return link;
}

t.test('one command and one token make a host a member, whose key never leaves it', async (t) => {
  const secret = await token('--label', 'zone=edge', '--taint', 'far', '--cores', '2', '--memory', '1Gi');
  t.match(await joining('h1', secret, '--label', 'disk=ssd'), { code: 0, out: /host h1 is a member/ });
  await agentOf('h1');
  await until(() => connected('h1'));
  const believed = { cores: 2, memoryBytes: 2 ** 30, labels: { zone: 'edge' }, taints: ['far'] };
  t.match(rig.coordinator.observed.hosts.get('h1')?.info, believed, 'of itself it is believed no more');
  const own = (file: string) => at('hosts', 'h1', 'identity', 'agent', file);
  t.equal((await stat(own('own.key'))).mode & 0o777, 0o600);
  t.same((await readdir(own(''))).sort(), ['ca.crt', 'own.crt', 'own.key'], 'nothing else is left');
  t.match(await readFile(at('hosts', 'h1', 'agent.env'), 'utf8'), /--label=disk=ssd\n$/);
  t.match(await joining('h1', secret), { code: 4, err: /has a certificate/ }, 'it is a member already');
  t.match(await joining('h2', secret), { code: 4, err: /is used up/ });
  const stored = JSON.stringify([...(await rig.store.load(''))]);
  t.notMatch(stored, secret.split('.')[2] ?? '', 'the store has its hash only');
  t.notMatch(lines.join(), secret.split('.')[2] ?? '', 'and the log not even that');
  t.match((await asked('token', 'list')).out, /test +any +zone=edge taint far 2 cores 1Gi +0/);
});

t.test('tokens that are refused, with nothing left on the host', async (t) => {
  const good = await token('--uses', '5');
  const [word, id, secret, hash] = good.split('.') as [string, string, string, string];
  const short = await token('--ttl', '60s');
  rig.nowMs += 61_000;
  const refused = async (name: string, given: string, code: number, err: RegExp) => {
    t.match(await joining(name, given), { code, err }, String(err));
    await t.rejects(readFile(at('hosts', name, 'agent.env')), { code: 'ENOENT' });
  };
  await refused('a', short, 4, /has expired/);
  now();
  await refused('a', [word, id, secret, hash.replace(/./, (c) => (c === 'A' ? 'B' : 'A'))].join('.'), 4, /not sent/);
  await refused('a', [word, id, 'x'.repeat(43), hash].join('.'), 4, /is not known/);
  await refused('a', [word, '0'.repeat(12), secret, hash].join('.'), 4, /is not known/);
  for (const garbage of ['x', 'shoal-join...', `${good}.`, 'ü'.repeat(99)]) await refused('a', garbage, 2, /no token/);
  const again = await runCli(['join', server, '--name', 'h1', '--folder', at('d'), '--no-start'], {
    env: { SHOAL_JOIN_TOKEN: good },
  });
  t.match(again, { code: 4, err: /there is a host h1 already/ });
  await refused('../x', good, 2, /is no name/);
  t.match(await joining('b', await token('--host', 'c')), { code: 4, err: /is for host c/ });
  t.match(
    await runCli(['join', server.replace('https', 'http'), '--folder', at('d')], { env: { SHOAL_JOIN_TOKEN: good } }),
    {
      code: 2,
      err: /TLS alone/,
    },
  );
  await asked('token', 'revoke', id);
  await refused('a', good, 4, /is not known/);
  t.ok(
    lines.some((line) => line.includes('"audit":true') && line.includes('/v1/join') && line.includes('401')),
    'what was refused is logged',
  );
  const operator = await runCli([
    ...['token', 'create', 'test', '--join', '--server', server, '--ca', at('c1', 'ca.crt')],
    ...['--token-file', at('operator')],
  ]);
  t.match(operator, { code: 4, err: /role admin/ });
  t.ok(connected('h1'), 'and nobody is disturbed');
});

t.test('of many that use one token at once, as many join as it allows', async (t) => {
  const secret = await token('--uses', '2');
  const { joinCluster } = await import('../../cli/join/join.js');
  const { MemberFiles } = await import('../../cli/join/member-files.js');
  const signal = new AbortController().signal;
  const tries = ['p0', 'p1', 'p2', 'p3'].map((host) =>
    joinCluster({
      ...{ server, token: secret, host, coordinators: [], agentOptions: [], signal },
      files: new MemberFiles(at('hosts', host)),
    }),
  );
  const results = await within('four hosts to have tried', COMMAND_MS_MAX, Promise.allSettled(tries));
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 2);
});

t.test('a request for more than its name gets its name; one that is none gets nothing', async (t) => {
  const post = (body: object) =>
    within('an answer', COMMAND_MS_MAX, api.inject({ method: 'POST', url: '/v1/join', payload: body }).then());
  const { makeRequest } = await import('../../identity/authority.js');
  const { X509Certificate } = await import('node:crypto');
  const secret = await token('--uses', '5');
  const request = await within('a request', COMMAND_MS_MAX, makeRequest(at('k'), 'c1'));
  const made = await post({ token: secret, host: 'q1', request });
  t.match(new X509Certificate(made.json().certificate).toLegacyObject(), {
    subject: { O: 'shoal-agent', CN: 'q1' },
  });
  const der = Buffer.from(request.replace(/-.*-/g, ''), 'base64');
  // The last byte is of the signature.
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
  const broken = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE REQUEST-----\n`;
  t.match(await post({ token: secret, host: 'q2', request: broken }), { statusCode: 400, body: /not signed by/ });
  for (const bad of ['', 'x', request.slice(0, 99)]) {
    t.match(await post({ token: secret, host: 'q2', request: bad }), { statusCode: 400 });
  }
  t.match(await post({ token: secret, host: 'q2', request: 'x'.repeat(9_000) }), { statusCode: 400 });
  t.match(await post({ token: secret, host: ['q2'], request }), { statusCode: 400 });
  t.match((await asked('token', 'list', '--json')).out, /"usesLeft": 4/, 'what failed has used nothing up');
});

t.test('a certificate is renewed by its key, and void once its host is forgotten', async (t) => {
  const own = at('hosts', 'h1', 'identity', 'agent', 'own.crt');
  const renew = (...words: string[]) => runCli(['renew', '--server', server, '--folder', at('hosts', 'h1'), ...words]);
  const before = await readFile(own, 'utf8');
  t.match(await renew(), { code: 0, out: /nothing to do/ });
  t.match(await renew('--force'), { code: 0, out: /is renewed/ });
  const after = await readFile(own, 'utf8');
  t.not(after, before);
  t.match(await renew('--force'), { code: 0 }, 'the new key is in use');

  const other = await readFile(at('hosts', 'h1', 'identity', 'agent', 'own.key'), 'utf8');
  await writeFile(at('hosts', 'h1', 'identity', 'agent', 'own.key'), await readFile(at('c1', 'own.key')));
  t.match(await renew('--force'), { code: 4, err: /not by its key/ }, 'a certificate without its key is of no use');
  await writeFile(at('hosts', 'h1', 'identity', 'agent', 'own.key'), other);

  now();
  t.match(await asked('host', 'forget', 'h1'), { code: 0 });
  await until(() => !connected('h1'));
  await until(() => lines.some((line) => /certificate of h1 was made void/.test(line)));
  t.match(await renew('--force'), { code: 4, err: /is void/ });
});

t.test('a token for one host lets it take its own place', async (t) => {
  t.match(await joining('r1', await token()), { code: 0 });
  const first = await agentOf('r1');
  await until(() => connected('r1'));
  first.close();
  const secret = await token('--host', 'r1');
  const again = await runCli(['join', server, '--name', 'r1', '--folder', at('again'), '--no-start'], {
    env: { SHOAL_JOIN_TOKEN: secret },
  });
  t.match(again, { code: 0 });
});
