import t, { type Test } from 'tap';
import type { Finding } from '../../cli/render/doctor.js';
import { FakeCoordinator, hostView } from './fake-coordinator.js';
import { runCli } from './run-cli.js';

const TCP = { carrier: 'tcp' as const, encrypted: true, reason: 'this host: no RoCE v2 address', channels: 3 };
const NONE = {
  carrier: 'none' as const,
  encrypted: false,
  reason: 'the other host: connect ECONNREFUSED',
  channels: 0,
};
const OF_HOST = ['native', 'shared-memory', 'rings', 'fabric-tcp', 'rdma'];

async function setUp(t: Test) {
  const fake = await FakeCoordinator.start();
  t.teardown(() => fake.stop());
  const { url } = fake;
  const doctor = (...words: string[]) => runCli(['doctor', '--server', url, ...words]);
  const findings = async () => JSON.parse((await doctor('--fabric', '--json')).out) as Finding[];
  return { fake, doctor, findings };
}

t.test('what carries the calls of each pair of hosts, and why, beside what they need on this one', async (t) => {
  const { fake, doctor, findings } = await setUp(t);
  const verbs = { carrier: 'verbs' as const, reason: 'both hosts have RDMA: rxe0, rxe0', channels: 1 };
  fake.json('GET /v1/hosts', [
    hostView({ name: 'h2', connections: [{ host: 'h1', ...TCP, reason: 'the other host: no RoCE v2 address' }] }),
    hostView({ name: 'h1', connections: [{ host: 'h2', ...TCP }] }),
    hostView({ name: 'h3', connections: [{ host: 'h2', ...verbs }] }),
    hostView({ name: 'h4', connected: false, connections: [{ host: 'h1', ...TCP }] }),
  ]);
  const all = await findings();
  t.same(
    all.map(({ id }) => id),
    [...OF_HOST, 'connection:h1:h2', 'connection:h2:h3'],
    'each pair once; nothing of a host that is away',
  );
  const { code, out } = await doctor('--fabric');
  t.equal(code, 0);
  t.match(
    out,
    'met       calls between h1 and h2: tcp, encrypted, channels: 3; h1 says: this host: no RoCE v2 address\n',
  );
  t.match(out, 'met       calls between h2 and h3: verbs, not encrypted, channels: 1; h3 says: both hosts have RDMA');
  t.notMatch(out, 'crun', 'nothing else');
});

t.test('a pair that nothing is carried between is said with the remedy, whichever of the two says it', async (t) => {
  const { fake, doctor } = await setUp(t);
  fake.json('GET /v1/hosts', [
    hostView({ name: 'h1', connections: [{ host: 'h2', ...TCP }] }),
    hostView({ name: 'h2', connections: [{ host: 'h1', ...NONE }] }),
  ]);
  const { code, out } = await doctor('--fabric');
  t.equal(code, 0, 'the host itself has what it must have');
  t.match(
    out,
    'degraded  calls between h1 and h2: nothing is carried; h2 says: the other host: connect ECONNREFUSED\n',
  );
  t.match(out, /remedy: see that the address of --fabric .* firewalls let its port and the next one through\n/);
});

t.test('without a coordinator that answers, or with one that refuses, it says so', async (t) => {
  const { fake, doctor, findings } = await setUp(t);
  fake.problem('GET /v1/hosts', 'SHOAL_E_UNAUTHORIZED', 'no token');
  const refused = await findings();
  t.match(refused.at(-1), { id: 'connections', met: false, found: 'not known: no token', remedy: /--token-file/ });
  fake.json('GET /v1/hosts', { hosts: [] });
  t.match((await findings()).at(-1), { id: 'connections', met: false, found: /did not answer with a list/ });
  await fake.stop();
  const { code, out } = await doctor('--fabric');
  t.equal(code, 0);
  t.match(out, /degraded {2}connections between hosts: not known: .+\n.*remedy: start the coordinator/);
});

t.test('what hosts say reaches no terminal raw, and a word too many is refused', async (t) => {
  const { fake, doctor } = await setUp(t);
  const hostile = { ...NONE, reason: 'a\u001b[31mb\nc' };
  fake.json('GET /v1/hosts', [hostView({ name: 'h1', connections: [{ host: 'h\u001b2', ...hostile }] })]);
  const { out } = await doctor('--fabric');
  t.match(out, /calls between h.* nothing is carried/);
  t.notOk(out.includes('\u001b') || out.includes('b\nc'));
  t.match(await doctor('--fabric', 'h1'), { code: 2, err: /too many arguments/ });
});
