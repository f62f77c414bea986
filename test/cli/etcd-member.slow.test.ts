/** Members of etcd as `shoal up --cluster` runs them, with real processes. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { etcdMember } from '../../cli/up/etcd-member.js';
import { Supervisor } from '../../cli/up/supervisor.js';
import type { EtcdStore } from '../../coordinator/store/etcd/store.js';
import { openEtcdStore } from '../../coordinator/store/open.js';
import { Authority } from '../../identity/authority.js';
import { freePorts } from '../../scripts/lib/cluster/etcd.js';
import { retry, until } from '../../scripts/lib/until.js';

const WAIT_MS_MAX = 60_000;
const NAMES = ['n1', 'n2', 'n3'];

const folder = await mkdtemp(join(tmpdir(), 'shoal-members-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));

/** Runs it until the test ends; answers what has been said of its deaths. */
function supervised(t: Test, name: string, args: readonly string[]): string[] {
  const deaths: string[] = [];
  const onDied = (_name: string, how: string) => deaths.push(how);
  const listener = { onLine: () => undefined, onDied, isFinal: () => false };
  const supervisor = new Supervisor({ name, program: 'etcd', args }, listener);
  t.teardown(() => supervisor.stop());
  return deaths;
}

/** The process id of a member, which is a child of this process. */
async function pidOf(name: string): Promise<number> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (words[0] === 'etcd' && words.includes(name) && words.some((word) => word.startsWith(folder)))
      return Number(pid);
  }
  throw new Error(`no member ${name} runs`);
}

function open(t: Test, settings: Omit<Parameters<typeof openEtcdStore>[0], 'data'>): EtcdStore {
  const store = openEtcdStore({ data: '', ...settings });
  t.teardown(() => store.close());
  return store;
}

/** Leads and writes, at whatever moment it can. */
async function write(store: EtcdStore, value: number): Promise<void> {
  await retry('written', WAIT_MS_MAX, async () => {
    await store.campaign();
    await store.commit([{ kind: 'put', key: 'value', value }]);
  });
}

/** The member dies, is started again, and has what was written before. */
async function survives(t: Test, name: string, store: EtcdStore, deaths: readonly string[]): Promise<void> {
  await write(store, 1);
  process.kill(await pidOf(name), 'SIGKILL');
  await until(() => deaths.length > 0);
  t.same(deaths, ['SIGKILL']);
  await retry('read', WAIT_MS_MAX, async () => t.same([...(await store.load(''))], [['value', 1]]));
  await write(store, 2);
  t.same([...(await store.load(''))], [['value', 2]], 'what was acknowledged is there, and more can be written');
}

t.test('the only member keeps what was written and is started again', async (t) => {
  const [port = 0] = await freePorts(1);
  const { args, store } = etcdMember({ members: '', name: 'n0', port, data: join(folder, 'n0') });
  await survives(t, 'n0', open(t, store), supervised(t, 'n0', args));
});

t.test('three members know each other and coordinators by certificates; an agent is nobody to them', async (t) => {
  const authority = new Authority(join(folder, 'ca'));
  await authority.init('test');
  const identity = (name: string) => join(folder, name);
  await authority.issue('coordinator', 'c1', 1, identity('c1'));
  await authority.issue('agent', 'shoal-coordinator', 1, identity('a1'));
  const ports = await freePorts(2 * NAMES.length);
  const members = NAMES.map((name, i) => `${name}=https://127.0.0.1:${ports[NAMES.length + i]}`).join(',');
  const [first] = NAMES.map((name, i) => {
    const own = { name, port: ports[i] as number, data: join(folder, name) };
    const member = etcdMember({ members, ...own, identity: identity('c1') });
    return { ...member, deaths: supervised(t, name, member.args) };
  });
  if (first === undefined) throw new Error('three members');
  await survives(t, 'n1', open(t, first.store), first.deaths);

  const own = (name: string) => join(identity('a1'), name);
  const stranger = open(t, { ...first.store, etcdCert: own('own.crt'), etcdKey: own('own.key') });
  await t.rejects(stranger.load(''), { code: 'SHOAL_E_STORE_AWAY' }, 'also one with the name that coordinators have');
  const { etcdCert: _cert, etcdKey: _key, ...bare } = first.store;
  await t.rejects(open(t, bare).load(''), { code: 'SHOAL_E_STORE_AWAY' }, 'nor is one without a certificate');
});
