import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { EtcdClient, type EtcdOptions } from '../../coordinator/store/etcd/client.js';
import { EtcdStore, LEASE_SECONDS } from '../../coordinator/store/etcd/store.js';
import type { Store } from '../../coordinator/store/store.js';
import { EtcdRig } from '../../scripts/lib/cluster/etcd.js';
import { until } from '../../scripts/lib/until.js';
import { enginesOf, openInEtcd } from './engines.js';

const root = await mkdtemp(join(tmpdir(), 'shoal-store-'));
const etcd = await EtcdRig.start();
t.teardown(async () => {
  await etcd.close();
  await rm(root, { recursive: true, force: true });
});
const { lmdb, inEtcd } = enginesOf(root, etcd);

for (const { name, open, script } of [lmdb, inEtcd]) {
  t.test(`${name}: a writer that is killed leaves whole batches only, and every one that it was told of`, async (t) => {
    // Small batches, then those of many transactions.
    for (const [round, size] of [3, 3, 3, 600, 600, 600].entries()) {
      const place = `${name}-killed-${round}`;
      const writer = `${script(place)}
        await store.campaign();
        for (let i = 1; ; i += 1) {
          const value = { i, text: 'x'.repeat(100) };
          await store.commit(Array.from({ length: ${size} }, (_, key) => ({ kind: 'put', key: 'k' + key, value })));
          process.stdout.write(i + '\\n');
        }`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', writer], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let told = 0;
      const exited = new Promise((resolve) => child.once('exit', resolve));
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (chunk: Buffer) => {
          told = Number(chunk.toString().trim().split('\n').at(-1));
          if (told > 5 + 3 * round) resolve();
        });
      });
      child.kill('SIGKILL');
      await exited;
      const store = await open(place);
      const before = [...(await store.load('')).values()] as { i: number }[];
      t.equal(new Set(before.map(({ i }) => i)).size, 1, 'all of one batch');
      t.equal(before.length, size);
      t.ok((before[0]?.i ?? 0) >= told, 'nothing that was confirmed is missing');
      await store.close();
    }
  });
}

interface Counted {
  /** The last that was confirmed. */
  last: number;
  failed: unknown;
  stop(): Promise<void>;
}

/** Commits numbers one after another, each once the one before is there, until told to stop. */
function counting(store: Store): Counted {
  let going = true;
  let run: Promise<void> = Promise.resolve();
  const counted: Counted = {
    last: 0,
    failed: null,
    async stop() {
      going = false;
      await run;
    },
  };
  run = (async () => {
    while (going) {
      await store.commit([{ kind: 'put', key: 'n', value: counted.last + 1 }]);
      counted.last += 1;
    }
  })().catch((error: unknown) => {
    counted.failed = error;
  });
  return counted;
}

/** What was confirmed is there; of a commit that failed nobody was told whether it is. */
async function findsConfirmed(t: Test, store: Store, { last, failed }: Counted): Promise<void> {
  const found = (await store.load('n')).get('n') as number;
  t.ok(found === last || (failed !== null && found === last + 1), `${found} was the last of ${last} confirmed`);
}

t.test('etcd that stands still or is gone ends the leadership in time; when it is back, one leads again', async (t) => {
  for (const how of ['SIGSTOP', 'SIGKILL'] as const) {
    const store = openInEtcd(etcd, `gone-${how}`);
    let lost = 0;
    store.onLeadershipLost(() => {
      lost += 1;
    });
    await store.campaign();
    const counted = counting(store);
    await until(() => counted.last > 5);
    const beganMs = performance.now();
    if (how === 'SIGSTOP') etcd.signal(0, 'SIGSTOP');
    else await etcd.kill(0);
    await until(() => lost === 1);
    t.ok(performance.now() - beganMs < 1_000 * LEASE_SECONDS, `${how}: before the lease could end elsewhere`);
    t.notOk(store.leads());
    await until(() => counted.failed !== null);
    t.match(counted.failed, { code: 'SHOAL_E_NOT_LEADER' });
    t.match(store.health, { reachable: false, detail: /is etcd up at/ });
    await t.rejects(store.load(''), { code: 'SHOAL_E_STORE_AWAY' });
    const again = store.campaign();
    if (how === 'SIGSTOP') etcd.signal(0, 'SIGCONT');
    else etcd.launch(0);
    t.equal(await again, 2);
    t.match(store.health, { reachable: true });
    await findsConfirmed(t, store, counted);
    await store.close();
  }
});

t.test('of three members one may be killed: nothing that was confirmed is lost, and there is a leader', async (t) => {
  const three = await EtcdRig.start(3);
  t.teardown(() => three.close());
  const store = openInEtcd(three, 'three');
  let lost = 0;
  store.onLeadershipLost(() => {
    lost += 1;
  });
  await store.campaign();
  let counted = counting(store);
  await until(() => counted.last > 5);
  // The client talks to the first one; whoever of the others leads them.
  await three.kill(0);
  const afterKill = counted.last + 20;
  await until(() => counted.last > afterKill || counted.failed !== null);
  three.launch(0);
  await counted.stop();
  if (lost > 0) {
    // The killed one led the members, and their election took longer than our lease: then we lead again.
    t.comment('lost once, to the election of etcd itself');
    await store.campaign();
    lost = 0;
  }
  await findsConfirmed(t, store, counted);
  counted = counting(store);
  await until(() => counted.last > 5);
  await counted.stop();
  t.equal(counted.failed, null);
  await store.close();
});

t.test('the certificate of etcd is checked, and name and password are used', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-tls-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const cert = join(folder, 'cert.pem');
  const key = join(folder, 'key.pem');
  const words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=etcd';
  const san = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert];
  await promisify(execFile)('openssl', [...words.split(' '), ...san]);
  const secured = await EtcdRig.start(1, ['--cert-file', cert, '--key-file', key], 'https');
  t.teardown(() => secured.close());
  const ca = await readFile(cert, 'utf8');
  await secured.untilHealthy({ ca });
  const { endpoints } = secured;
  const ctl = (line: string) =>
    promisify(execFile)('etcdctl', ['--endpoints', endpoints.join(','), '--cacert', cert, ...line.split(' ')], {
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
    });
  for (const line of ['user add root:secret', 'role add root', 'user grant-role root root', 'auth enable'])
    await ctl(line);

  const open = (more: Partial<EtcdOptions>) => new EtcdStore({ etcd: new EtcdClient({ endpoints, ...more }) });
  const untrusting = open({});
  await t.rejects(untrusting.load(''), { code: 'SHOAL_E_STORE_AWAY', message: /certificate/ });
  await untrusting.close();
  const nameless = open({ tls: { ca } });
  await t.rejects(nameless.campaign(), { code: 'SHOAL_E_STORE', message: /user name is empty/ });
  await nameless.close();
  const wrong = open({ tls: { ca }, user: { name: 'root', password: 'wrong' } });
  await t.rejects(wrong.campaign(), { code: 'SHOAL_E_STORE', message: /authentication failed/ });
  await wrong.close();
  const right = open({ tls: { ca }, user: { name: 'root', password: 'secret' } });
  t.equal(await right.campaign(), 1);
  await right.commit([{ kind: 'put', key: 'a', value: 1 }]);
  t.same([...(await right.load(''))], [['a', 1]]);
  await right.close();
});
