import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { CLOCKWORK, type Clockwork } from '../../coordinator/clockwork.js';
import { encodeGroup } from '../../coordinator/store/etcd/batch.js';
import { EtcdClient } from '../../coordinator/store/etcd/client.js';
import { type EtcdError, endOf, type Operation } from '../../coordinator/store/etcd/etcd.js';
import { STATUS } from '../../coordinator/store/etcd/grpc.js';
import { EtcdStore } from '../../coordinator/store/etcd/store.js';
import { openLmdbStore } from '../../coordinator/store/lmdb-store.js';
import { moveStore } from '../../coordinator/store/move.js';
import { STORE_KEY_BYTES_MAX, STORE_VALUE_BYTES_MAX } from '../../coordinator/store/store.js';
import { EtcdRig } from '../../scripts/lib/cluster/etcd.js';
import { until } from '../../scripts/lib/until.js';
import { runCli } from '../cli/run-cli.js';
import { type Engine, enginesOf, openInEtcd } from './engines.js';

const root = await mkdtemp(join(tmpdir(), 'shoal-store-'));
const etcd = await EtcdRig.start();
t.teardown(async () => {
  await etcd.close();
  await rm(root, { recursive: true, force: true });
});
const { lmdb, inEtcd } = enginesOf(root, etcd);
const openEtcd = (place: string) => openInEtcd(etcd, place);

let places = 0;
function newPlace(name: string): string {
  places += 1;
  return `${name}-${places}`;
}

for (const engine of [lmdb, inEtcd]) contract(engine);

function contract({ name, open, depose }: Engine): void {
  t.test(`${name}: what was committed is there, in order, after it was opened again`, async (t) => {
    const place = newPlace(name);
    const store = await open(place);
    await t.rejects(store.commit([{ kind: 'put', key: 'a', value: 1 }]), { code: 'SHOAL_E_NOT_LEADER' });
    t.notOk(store.leads());
    await store.campaign();
    t.ok(store.leads());
    const value = { text: 'ü', list: [1, null, true], deep: { er: {} } };
    await store.commit([
      { kind: 'put', key: 'app/b', value },
      { kind: 'put', key: 'app/a', value: 1 },
      { kind: 'put', key: 'apple', value: 2 },
      { kind: 'put', key: 'z', value: 3 },
    ]);
    await store.commit([
      { kind: 'delete', key: 'z' },
      { kind: 'delete', key: 'never there' },
      { kind: 'put', key: 'twice', value: 1 },
      { kind: 'delete', key: 'twice' },
    ]);
    await store.commit([]);
    await store.close();
    await t.rejects(store.load(''), { code: 'SHOAL_E_STORE' });
    const again = await open(place);
    t.same(
      [...(await again.load('app/'))],
      [
        ['app/a', 1],
        ['app/b', value],
      ],
    );
    t.same([...(await again.load('')).keys()], ['app/a', 'app/b', 'apple']);
    t.same([...(await again.load('apple')).keys()], ['apple']);
    await again.close();
  });

  t.test(`${name}: a batch that cannot be stored changes nothing`, async (t) => {
    const store = await open(newPlace(name));
    await store.campaign();
    const good = { kind: 'put', key: 'good', value: 1 } as const;
    const refused = { code: 'SHOAL_E_STORE' };
    const long = 'k'.repeat(STORE_KEY_BYTES_MAX + 1);
    const large = 'v'.repeat(STORE_VALUE_BYTES_MAX);
    await t.rejects(store.commit([good, { kind: 'put', key: long, value: 1 }]), refused);
    await t.rejects(store.commit([good, { kind: 'put', key: '', value: 1 }]), refused);
    await t.rejects(store.commit([good, { kind: 'put', key: 'x', value: undefined }]), refused);
    await t.rejects(store.commit([good, { kind: 'put', key: 'x', value: large }]), refused);
    t.same([...(await store.load(''))], []);
    await store.commit([{ kind: 'put', key: 'k'.repeat(STORE_KEY_BYTES_MAX), value: large.slice(2) }, good]);
    t.equal((await store.load('')).size, 2, 'the largest that is allowed is taken');
    await store.close();
  });

  t.test(`${name}: a deposed leader that has nothing to write is told as well`, async (t) => {
    const place = newPlace(name);
    const first = await open(place);
    await first.campaign();
    await first.commit([]);
    t.ok(first.leads());
    await depose(place);
    await t.rejects(first.commit([]), { code: 'SHOAL_E_NOT_LEADER' });
    t.notOk(first.leads());
    await first.close();
  });

  t.test(`${name}: a deposed leader cannot write, and learns it`, async (t) => {
    const place = newPlace(name);
    const first = await open(place);
    let lost = 0;
    first.onLeadershipLost(() => {
      lost += 1;
    });
    const term = await first.campaign();
    const later = await depose(place);
    t.ok(later > term, `${later} > ${term}`);
    await t.rejects(first.commit([{ kind: 'put', key: 'a', value: 'stale' }]), { code: 'SHOAL_E_NOT_LEADER' });
    t.equal(lost, 1);
    t.notOk(first.leads());
    t.same([...(await first.load(''))], [['a', 'new']]);
    t.ok((await first.campaign()) > later, 'it may lead again');
    await first.commit([{ kind: 'put', key: 'a', value: 'again' }]);
    t.same([...(await first.load(''))], [['a', 'again']]);
    await first.close();
  });

  t.test(`${name}: a batch of thousands is one`, async (t) => {
    const place = newPlace(name);
    const store = await open(place);
    await store.campaign();
    const keys = Array.from({ length: 3_000 }, (_, i) => `i/${String(i).padStart(5, '0')}`);
    const text = 'x'.repeat(1_000);
    await store.commit(keys.map((key) => ({ kind: 'put', key, value: { key, text } })));
    await store.commit([...keys.map((key) => ({ kind: 'delete', key }) as const), { kind: 'put', key: 'a', value: 1 }]);
    await store.commit(keys.slice(1).map((key) => ({ kind: 'put', key, value: text })));
    t.same([...(await store.load('i/')).keys()], keys.slice(1));
    await store.close();
  });
}

t.test('etcd: who leads is known to who waits, and one waits at a time less than a lease', async (t) => {
  const [first, second] = [openEtcd('wait'), openEtcd('wait')];
  t.equal(await first.campaign({ name: 'one', api: 'http://127.0.0.1:1', link: null }), 1);
  t.same(first.leader, { name: 'one', api: 'http://127.0.0.1:1', link: null });
  const won = second.campaign({ name: 'two', api: 'http://127.0.0.1:2', link: null });
  while (second.leader?.name !== 'one') await new Promise((resolve) => setTimeout(resolve, 5));
  const gaveUp = new AbortController();
  const third = openEtcd('wait');
  const never = third.campaign({ name: 'three', api: 'http://127.0.0.1:3', link: null }, gaveUp.signal);
  gaveUp.abort();
  await t.rejects(never, { code: 'SHOAL_E_CANCELLED' });
  await first.close();
  t.equal(await won, 2);
  await Promise.all([second.close(), third.close()]);
});

t.test('etcd: a batch that was decided is seen at once, and finished by the next leader', async (t) => {
  const client = new EtcdClient({ endpoints: etcd.endpoints });
  const put = (key: string, value: string | Uint8Array) => ({ kind: 'put', key, value }) as const;
  const keys = ['a', 'b'];
  const group = encodeGroup([...keys.map((key) => ({ key, text: '"new"' })), { key: 'gone', text: null }]);
  const laid = [put('/j/data/a', '"old"'), put('/j/data/gone', '1'), put('/j/group/000000', group)];
  const put2 = (perform: readonly Operation[]) => client.transact({ conditions: [], perform, otherwise: [] }, 5_000);
  await put2(laid);
  const store = openEtcd('j');
  const old = [
    ['a', 'old'],
    ['gone', 1],
  ];
  t.same([...(await store.load(''))], old, 'what was not decided is not valid');
  await put2([put('/j/journal', '1')]);
  const decided = keys.map((key) => [key, 'new']);
  t.same([...(await store.load(''))], decided);
  await store.campaign();
  t.same([...(await store.load(''))], decided);
  const { results } = await client.transact(
    { conditions: [], perform: [{ kind: 'read', key: '/j/', end: endOf('/j/') }], otherwise: [] },
    5_000,
  );
  t.same(
    results[0]?.entries.map(({ key }) => key),
    ['/j/data/a', '/j/data/b', '/j/leader', '/j/leader-beat', '/j/sequence', '/j/term'],
  );
  client.close();
  await store.close();
});

t.test('etcd: a value that was written again is told from what it was, by the revision that wrote it', async (t) => {
  const client = new EtcdClient({ endpoints: etcd.endpoints });
  t.teardown(() => client.close());
  const key = 'again/beat';
  const beat = { kind: 'put', key, value: '7:2:1' } as const;
  const writeIf = async (modified: number) => {
    const conditions = [{ key, modified }];
    return (await client.transact({ conditions, perform: [beat], otherwise: [] }, 5_000)).held;
  };
  const modified = async () => {
    const look = { conditions: [], perform: [{ kind: 'read', key } as const], otherwise: [] };
    return (await client.transact(look, 5_000)).results[0]?.entries[0]?.modified ?? 0;
  };
  t.ok(await writeIf(await modified()), 'there is none yet');
  const first = await modified();
  t.ok(await writeIf(first));
  t.notOk(await writeIf(first), 'the same text, but not the same beat');
  t.ok(await writeIf(await modified()));
});

t.test('etcd: history is forgotten, what is stored stays', async (t) => {
  const minutes: (() => void)[] = [];
  const after: Clockwork['after'] = (ms, action) => {
    if (ms < 60_000) return CLOCKWORK.after(ms, action);
    minutes.push(action);
    return () => undefined;
  };
  const client = new EtcdClient({ endpoints: etcd.endpoints });
  const of = new EtcdClient({ endpoints: etcd.endpoints });
  const store = new EtcdStore({ etcd: of, prefix: '/compacted/', clockwork: { ...CLOCKWORK, after } });
  t.teardown(async () => {
    await store.close();
    client.close();
  });
  const reading = (revision?: number) => {
    const operation: Operation = {
      kind: 'read',
      key: '/compacted/term',
      ...(revision === undefined ? {} : { revision }),
    };
    return client.transact({ conditions: [], perform: [operation], otherwise: [] }, 5_000);
  };
  await store.campaign();
  await store.commit([{ kind: 'put', key: 'a', value: 'old' }]);
  const { revision } = await reading();
  await store.commit([{ kind: 'put', key: 'a', value: 'new' }]);
  await reading(revision);
  // One to two times the span: the first forgets what was there when it began to lead.
  minutes.shift()?.();
  await until(() => minutes.length === 1);
  minutes.shift()?.();
  await until(() =>
    reading(revision).then(
      () => false,
      (error: EtcdError) => error.status === STATUS.compacted,
    ),
  );
  t.same([...(await store.load(''))], [['a', 'new']]);
});

t.test('what the embedded store holds moves to etcd by one command, which may be repeated, and not back', async (t) => {
  const place = newPlace('move');
  const from = openLmdbStore({ folder: join(root, place) });
  for (let i = 0; i < 3; i += 1) await from.campaign();
  const batch = Array.from({ length: 300 }, (_, i) => ({ kind: 'put', key: `instance/${i}`, value: { i } }) as const);
  await from.commit(batch);
  const held = await from.load('');
  await from.close();

  // Interrupted when all was there, but the embedded store did not know it yet.
  const half = openLmdbStore({ folder: join(root, place) });
  half.retire = async () => {
    throw new Error('killed');
  };
  const to = openEtcd(place);
  await t.rejects(moveStore(half, to, false), { message: 'killed' });
  await Promise.all([half.close(), to.close()]);

  const words = ['store', 'move', '--data', join(root, place), '--etcd-prefix', `/${place}/`];
  const at = ['--etcd', etcd.endpoints.join(',')];
  t.match(await runCli([...words, ...at]), { code: 0, out: /^moved 300 keys; now start the coordinators with/ });
  t.match(await runCli([...words, ...at]), { code: 4, err: /this store was moved to http.*--etcd/ });
  t.match(await runCli([...words]), { code: 2, err: /--etcd URL/ });
  t.match(await runCli([...words, '--etcd', '10.0.0.1:2379']), { code: 2, err: /must be addresses such as/ });
  const old = openLmdbStore({ folder: join(root, place) });
  await t.rejects(old.campaign(), { code: 'SHOAL_E_CONFLICT' });
  await old.close();
  const after = openEtcd(place);
  t.same([...(await after.load(''))], [...held]);
  t.ok((await after.campaign()) > 5, 'agents that obeyed the embedded one obey its successor');
  await after.close();

  const other = openLmdbStore({ folder: join(root, newPlace('move')) });
  await other.campaign();
  await other.commit([{ kind: 'put', key: 'other', value: 1 }]);
  const taken = openEtcd(place);
  await t.rejects(moveStore(other, taken, false), { code: 'SHOAL_E_CONFLICT', message: /already holds 300 keys/ });
  t.match(await moveStore(other, taken, true), { keys: 1 });
  t.same([...(await taken.load(''))], [['other', 1]]);
  await Promise.all([other.close(), taken.close()]);
});

t.test('a folder that cannot hold a store is named', (t) => {
  t.throws(() => openLmdbStore({ folder: '/etc/passwd/none' }), { code: 'SHOAL_E_STORE', message: /passwd/ });
  t.end();
});
