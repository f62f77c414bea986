import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { createFront } from '../../coordinator/api/front.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { CoordinatorsRig } from '../../scripts/lib/cluster/coordinators.js';
import { EtcdRig, freePorts } from '../../scripts/lib/cluster/etcd.js';
import { until } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { runCli } from '../cli/run-cli.js';
import { CoordinatorRig } from './rig.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
const REVOKED = /its certificate is revoked/;

const folder = await mkdtemp(join(tmpdir(), 'shoal-revoked-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);
const authority = new Authority(at('ca'));
await authority.init('test');
for (const name of ['c1', 'c2', 'thief']) await authority.issue('coordinator', name, 1, at(name));
await authority.issue('agent', 'h1', 1, at('h1'));
const serialOf = async (name: string) => new X509Certificate(await readFile(at(name, 'own.crt'))).serialNumber;
const silent = pino({ level: 'silent' });

const rig = await CoordinatorRig.make();
t.teardown(() => rig.close());

/** Takes agents with that certificate, for the coordinator that leads. */
async function takeAgents(t: Test, name: string): Promise<string> {
  const [port = 0] = await freePorts(1);
  const network = { host: '127.0.0.1', port };
  const identity = new Identity(at(name));
  const server = await startLinkServer({ socket: at(`${name}.sock`), network, identity, log: silent });
  server.follow(rig.coordinator);
  t.teardown(() => server.close());
  return `127.0.0.1:${port}`;
}

/** An agent of h1 as it starts, with what it logs. */
function startAgent(t: Test, coordinators: readonly string[]): { said: string[]; link: Link } {
  const said: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => said.push(line) });
  const fence = new Fence(0, async () => undefined);
  const identity = new Identity(at('h1'));
  const link = new Link({ coordinators, host: HOST, agent: idleAgent(), fence, identity, log });
  link.start();
  t.teardown(() => link.close());
  return { said, link };
}

/** The API by TLS with that certificate: of who leads, or of who forwards to the address. */
async function front(t: Test, name: string, leaderApi: string | null): Promise<string> {
  const identity = new Identity(at(name));
  const store = { engine: 'lmdb' as const, reachable: true, detail: '' };
  const view = () => ({ name, role: 'follows' as const, term: 1, leader: null, store, staleSeconds: null });
  const behind = { api: leaderApi === null ? rig.api : null, leads: leaderApi === null, leaderApi, view };
  const onLeaderChange = () => undefined;
  const options = { token: null, loopback: true, tls: identity, identity, log: silent };
  const server: Server = createFront({ ...options, behind: { ...behind, onLeaderChange } });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const connected = () => rig.coordinator.observed.hosts.get('h1')?.connected === true;

t.test('a coordinator whose certificate is revoked is refused by agents, also by one that starts again', async (t) => {
  const thief = await takeAgents(t, 'thief');
  const honest = await takeAgents(t, 'c1');
  const api = await front(t, 'c1', null);
  const agent = startAgent(t, [thief]);
  await until(connected);

  const shoal = (...words: string[]) =>
    runCli([...words, '--authority', at('ca'), '--server', api, '--ca', at('ca', 'ca.crt')]);
  const revoked = await shoal('cert', 'revoke', at('thief', 'own.crt'));
  t.match(revoked, { code: 0, out: /O=shoal-coordinator, CN=thief\) is revoked/ });
  t.match(await shoal('cert', 'revoke', at('thief', 'own.crt')), { code: 0 }, 'twice is as once');
  await until(() => !connected());
  await until(() => agent.said.some((line) => REVOKED.test(line)));
  t.notOk(connected(), 'the agent left it and does not come back');
  t.match(await readFile(at('h1', 'revoked'), 'utf8'), new RegExp(`^${await serialOf('thief')}$`, 'm'), 'kept on disk');
  agent.link.close();

  const again = startAgent(t, [thief]);
  await until(() => again.said.some((line) => REVOKED.test(line)));
  t.notOk(connected(), 'refused before anything was said');
  again.link.close();

  startAgent(t, [thief, honest]);
  await until(connected);
  t.pass('it obeys the others');
  const events = rig.coordinator.events.since(0).map(({ kind, message }) => `${kind} ${message}`);
  t.ok(events.some((each) => /^certificate-revoked .*CN=thief/.test(each)));
  const ask = async (ca: string) =>
    runCli(['get', 'hosts', '--server', await front(t, 'thief', null), '--ca', at(ca, 'ca.crt')]);
  t.match(await ask('h1'), { code: 5, err: /is revoked/ }, 'nor is it told a token, where the list is beside --ca');
  t.match(await ask('c2'), { code: 0 });
  const list = await runCli(['cert', 'revoked', '--json', '--server', api, '--ca', at('ca', 'ca.crt')]);
  t.match(JSON.parse(list.out), [{ serial: await serialOf('thief'), name: 'O=shoal-coordinator, CN=thief' }]);
});

t.test('no coordinator forwards to one whose certificate is revoked', async (t) => {
  const leader = await front(t, 'c2', null);
  const identity = at('c1');
  const hosts = async () => {
    const follower = await front(t, 'c1', leader);
    return runCli(['get', 'hosts', '--json', '--server', follower, '--ca', at('ca', 'ca.crt')]);
  };
  t.match(await hosts(), { code: 0 });
  await new Identity(identity).keepRevoked([await serialOf('c2')]);
  t.match(await hosts(), { code: 5, err: /certificate is revoked/ });
});

t.test('what is revoked has to be a certificate of the authority, and the cluster has to be told', async (t) => {
  const stranger = new Authority(at('stranger'));
  await stranger.init('other');
  await stranger.issue('coordinator', 'c1', 1, at('forged'));
  const revoke = (file: string, ...words: string[]) =>
    runCli(['cert', 'revoke', file, '--authority', at('ca'), '--server', 'http://127.0.0.1:1', ...words]);
  t.match(await revoke(at('forged', 'own.crt')), { code: 2, err: /no certificate of the authority/ });
  t.match(await revoke(at('c2', 'own.crt')), { code: 5, err: /was not told .*--offline/ });
  t.match(await revoke(at('c2', 'own.crt'), '--offline'), { code: 0, out: /bring .*revoked to the identity/ });
  for (const serial of ['xyz', 'A'.repeat(41)]) {
    const body = JSON.stringify({ name: 'x', validToMs: 1 });
    const headers = { 'content-type': 'application/json', host: '127.0.0.1' };
    const { statusCode } = await rig.api.inject({
      method: 'PUT',
      url: `/v1/revoked/${serial}`,
      headers,
      payload: body,
    });
    t.equal(statusCode, 400);
  }
});

t.test('a leader whose certificate is revoked gives way, and leads again with another one', async (t) => {
  const etcd = await EtcdRig.start();
  t.teardown(() => etcd.close());
  for (const name of ['c0', 'c1']) await authority.issue('coordinator', name, 1, at(`led-${name}`));
  const words = (name: string) => ['--identity', at(`led-${name}`)];
  const cluster = await CoordinatorsRig.start(2, etcd.endpoints, [], words);
  t.teardown(() => cluster.close());
  const leader = await cluster.untilLed();
  const other = cluster.seats.find((seat) => seat !== leader) as typeof leader;
  await cluster.untilFollows(other);
  const own = at(`led-${leader.name}`, 'own.crt');
  t.match(await runCli(['cert', 'revoke', own, '--authority', at('ca'), '--server', leader.api]), { code: 0 });
  await until(async () => (await cluster.view(other))?.role === 'leads');
  t.not((await cluster.view(leader))?.role, 'leads');
  await authority.issue('coordinator', leader.name, 1, at(`led-${leader.name}`));
  await until(async () => (await cluster.view(leader))?.leader?.name === other.name);
  await cluster.end(other);
  await until(async () => (await cluster.view(leader))?.role === 'leads');
  t.pass('with another certificate it leads');
});
