import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { openLmdbStore } from '../../coordinator/store/lmdb-store.js';
import { STORE_KEY_BYTES_MAX, type Store } from '../../coordinator/store/store.js';

const MODULE = fileURLToPath(new URL('../../coordinator/store/lmdb-store.js', import.meta.url));

/** What every engine must do; `open` opens the same store again each time. */
function contract(name: string, open: (folder: string) => Store): void {
  t.test(`${name}: what was committed is there, in order, after it was opened again`, async (t) => {
    const folder = await temporary(t);
    const store = open(folder);
    await t.rejects(store.commit([{ kind: 'put', key: 'a', value: 1 }]), { code: 'SHOAL_E_NOT_LEADER' });
    await store.campaign();
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
    ]);
    await store.close();
    await t.rejects(store.load(''), { code: 'SHOAL_E_STORE' });
    const again = open(folder);
    t.same(
      [...(await again.load('app/'))],
      [
        ['app/a', 1],
        ['app/b', value],
      ],
    );
    t.same([...(await again.load('')).keys()], ['app/a', 'app/b', 'apple']);
    await again.close();
  });

  t.test(`${name}: a batch that cannot be stored changes nothing`, async (t) => {
    const store = open(await temporary(t));
    await store.campaign();
    const good = { kind: 'put', key: 'good', value: 1 } as const;
    await t.rejects(store.commit([good, { kind: 'put', key: 'k'.repeat(STORE_KEY_BYTES_MAX + 1), value: 1 }]), {
      code: 'SHOAL_E_STORE',
    });
    await t.rejects(store.commit([good, { kind: 'put', key: '', value: 1 }]), { code: 'SHOAL_E_STORE' });
    await t.rejects(store.commit([good, { kind: 'put', key: 'x', value: undefined }]), { code: 'SHOAL_E_STORE' });
    t.same([...(await store.load(''))], []);
    await store.close();
  });

  t.test(`${name}: a deposed leader cannot write, and learns it`, async (t) => {
    const folder = await temporary(t);
    const first = open(folder);
    let lost = 0;
    first.onLeadershipLost(() => {
      lost += 1;
    });
    const term = await first.campaign();
    // Another process, as a second coordinator would be.
    const rival = `import { openLmdbStore } from ${JSON.stringify(MODULE)};
      const store = openLmdbStore({ folder: ${JSON.stringify(folder)} });
      console.log(await store.campaign());
      await store.commit([{ kind: 'put', key: 'a', value: 'new' }]);
      await store.close();`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', rival], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    t.ok(Number(stdout) > term, stdout);
    await t.rejects(first.commit([{ kind: 'put', key: 'a', value: 'stale' }]), { code: 'SHOAL_E_NOT_LEADER' });
    t.equal(lost, 1);
    t.same([...(await first.load(''))], [['a', 'new']]);
    await first.close();
  });
}

contract('lmdb', (folder) => openLmdbStore({ folder }));

t.test('a writer that is killed leaves whole batches only, and every one that it was told of', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const folder = await temporary(t);
    const script = `import { openLmdbStore } from ${JSON.stringify(MODULE)};
      const store = openLmdbStore({ folder: ${JSON.stringify(folder)} });
      await store.campaign();
      for (let i = 1; ; i += 1) {
        await store.commit(['a', 'b', 'c'].map((key) => ({ kind: 'put', key, value: i })));
        process.stdout.write(i + '\\n');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let told = 0;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        told = Number(chunk.toString().trim().split('\n').at(-1));
        if (told > 20 + 7 * round) resolve();
      });
    });
    child.kill('SIGKILL');
    await exited;
    const store = openLmdbStore({ folder });
    const values = [...(await store.load('')).values()] as number[];
    t.equal(new Set(values).size, 1, `all of one batch: ${values}`);
    t.ok((values[0] ?? 0) >= told, 'nothing that was confirmed is missing');
    await store.close();
  }
});

t.test('a folder that cannot hold a store is named', (t) => {
  t.throws(() => openLmdbStore({ folder: '/etc/passwd/none' }), { code: 'SHOAL_E_STORE', message: /passwd/ });
  t.end();
});

async function temporary(test: { teardown(action: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  test.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
