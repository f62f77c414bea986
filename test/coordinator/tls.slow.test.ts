import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { pino } from 'pino';
import t from 'tap';
import { createFront } from '../../coordinator/api/front.js';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { until } from '../../scripts/lib/until.js';
import { runCli, startCli } from '../cli/run-cli.js';
import { CoordinatorRig } from './rig.js';

// A folder of its own, not tap's: that goes before what uses it is closed.
const folder = await mkdtemp(join(tmpdir(), 'shoal-tls-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);
const authority = new Authority(at('authority'));
await authority.init('test');
await authority.issue('coordinator', 'c1', 1, at('c1'), ['127.0.0.1']);
await authority.issue('agent', 'localhost', 1, at('h1'));
const stranger = new Authority(at('stranger'));
await stranger.init('other');
await stranger.issue('coordinator', 'c1', 1, at('forged'));

const log = pino({ level: 'silent' });
const rig = await CoordinatorRig.make();
t.teardown(() => rig.close());

/** A listener that leads, or forwards to the address. */
async function front(tls: string, leaderApi: string | null = null): Promise<string> {
  const identity = new Identity(at(tls));
  const view = () => ({
    name: tls,
    role: leaderApi === null ? ('leads' as const) : ('follows' as const),
    term: 1,
    leader: null,
    store: { engine: 'lmdb' as const, reachable: true, detail: '' },
    staleSeconds: null,
  });
  const behind = { api: leaderApi === null ? rig.api : null, leads: leaderApi === null, leaderApi, view };
  const server = createFront({
    token: null,
    loopback: true,
    tls: identity,
    identity,
    behind: { ...behind, onLeaderChange: () => undefined },
    log,
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const hosts = (server: string, ca?: string) =>
  runCli(['get', 'hosts', '--json', '--server', server, ...(ca === undefined ? [] : ['--ca', at(ca, 'ca.crt')])]);

t.test('the API by TLS: known by the authority alone, also through a follower', async (t) => {
  const leader = await front('c1');
  t.match(await hosts(leader, 'c1'), { code: 0, out: /^\[\]/ });
  t.match(await hosts(await front('c1', leader), 'c1'), { code: 0, out: /^\[\]/ }, 'forwarded');
  t.match(await hosts(leader), { code: 5, err: /does not prove who it is: .*--ca/ });
  t.match(await hosts(leader, 'forged'), { code: 5, err: /does not prove who it is/ });
  t.match(await hosts(await front('forged'), 'c1'), { code: 5, err: /does not prove/ }, 'of another authority');
  t.match(await hosts(await front('h1'), 'c1'), { code: 5, err: /does not prove/ }, 'an agent is no coordinator');
  const named = (await front('h1')).replace('127.0.0.1', 'localhost');
  t.match(await hosts(named, 'c1'), { code: 5, err: /does not prove/ }, 'nor is one of the name that is asked for');
  t.match(
    await hosts(await front('c1', await front('forged')), 'c1'),
    { code: 5 },
    'nor does a follower forward to it',
  );
  t.match(await hosts(leader.replace('https', 'http'), 'c1'), { code: 5 }, 'nothing is said in the clear');
  t.match(await hosts(leader, 'authority'), { code: 0 });
  t.match(await runCli(['get', 'hosts', '--server', leader, '--ca', at('c1', 'own.key')]), { code: 2, err: /--ca/ });
  const { env } = process;
  const byName = startCli(['get', 'hosts', '--server', leader], {
    env: { ...(env.PATH === undefined ? {} : { PATH: env.PATH }), NODE_EXTRA_CA_CERTS: at('c1', 'ca.crt') },
  });
  t.match(await byName.ended, { code: 0 }, 'who trusts the authority finds its address in the certificate');
});

t.test('not below TLS 1.3, and a new certificate without a restart', async (t) => {
  const leader = new URL(await front('c1'));
  const ca = await readFile(at('c1', 'ca.crt'), 'utf8');
  const dial = (more: object = {}) => connect({ host: leader.hostname, port: Number(leader.port), ca, ...more });
  const old = dial({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
  await new Promise((resolve) => old.once('error', resolve));
  const shown = async () => {
    const socket = dial();
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const kept = dial();
  await new Promise((resolve) => kept.once('secureConnect', resolve));
  const before = await shown();
  await authority.issue('coordinator', 'c1', 1, at('c1'), ['127.0.0.1']);
  await until(async () => (await shown()) !== before);
  t.notOk(kept.destroyed, 'connections stay');
  kept.destroy();
});
