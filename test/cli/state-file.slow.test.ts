import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Cluster, freePort } from '../../scripts/lib/demo/cluster.js';
import { COMPONENTS } from '../agent/rig.js';
import { runCli, startCli } from './run-cli.js';

const CLI = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const KEYS = 100;

interface Reply {
  answer?: unknown;
  code?: string;
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-export-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));

function manifest(port: number): string {
  const component = (name: string, more: string) =>
    `  ${name}: { rootfs: host, directory: ${COMPONENTS}, command: [node, /app/${name === 'front' ? 'front' : 'derived'}.mjs], count: 1, ${more} }\n`;
  return [
    'app: t\ncomponents:\n',
    component('carts', 'state: { mode: partitioned, shards: 16 }'),
    component('other', 'state: { mode: partitioned, shards: 7 }'),
    component('none', ''),
    component('front', `calls: [carts, other], ports: [{ name: http, host: ${port} }]`),
  ].join('');
}

t.test('what was exported is imported, into as many state shards as before and into others', async (t) => {
  const cluster = await Cluster.start(CLI);
  t.teardown(() => cluster.close());
  const port = await freePort();
  await cluster.put('/v1/apps/t', 'application/yaml', manifest(port));
  const ask = async (path: string) => {
    const signal = AbortSignal.timeout(10_000);
    return (await (await fetch(`http://127.0.0.1:${port}${path}`, { signal })).json()) as Reply;
  };
  const set = async (component: string, key: string, value: string) =>
    t.same(await ask(`/${component}/set?key=${key}&value=${value}`), {}, `${key} is set`);
  const get = async (component: string, key: string) => (await ask(`/${component}/get?key=${key}`)).answer;
  await cluster.until('both components answer', 60_000, async () => {
    const replies = await Promise.all(['carts', 'other'].map((each) => ask(`/${each}/get?key=x`)));
    return replies.every(({ code }) => code === undefined);
  });
  const shoal = (...words: string[]) => runCli([...words, '--server', cluster.server]);
  const path = join(folder, 'carts.state');

  for (let i = 0; i < KEYS; i += 1) await set('carts', `k${i}`, `v${i}`);
  await set('carts', 'gone', 'before');
  t.same(await ask('/carts/delete?key=gone'), { answer: true });
  const exported = await shoal('state', 'export', 't/carts', '-o', path);
  t.equal(exported.code, 0, exported.err);
  t.match(exported.out, `${KEYS} entries of 16 state shards`);
  t.same(await readdir(folder), ['carts.state'], 'under its own name alone');

  const all = async (component: string) => {
    const wrong: string[] = [];
    for (let i = 0; i < KEYS; i += 1) {
      const found = await get(component, `k${i}`);
      if (found !== `v${i}`) wrong.push(`k${i}: ${found}`);
    }
    return wrong;
  };
  await set('carts', 'k1', 'changed');
  await set('carts', 'new', 'later');
  const merged = await shoal('state', 'import', 't/carts', path, '--merge');
  t.equal(merged.code, 0, merged.err);
  t.same(await all('carts'), [], 'merged: what was changed is as in the file');
  t.equal(await get('carts', 'new'), 'later', 'merged: what the file does not have stays');
  t.equal(await get('carts', 'gone'), undefined);
  const replaced = await shoal('state', 'import', 't/carts', path, '--replace', '--json');
  t.equal(replaced.code, 0, replaced.err);
  t.match(JSON.parse(replaced.out), { shards: 16, entries: KEYS, removed: 1, expired: 0 });
  t.equal(await get('carts', 'new'), undefined, 'replaced: what the file does not have is gone');
  t.same(await all('carts'), []);

  const other = await shoal('state', 'import', 't/other', path, '--replace');
  t.equal(other.code, 0, other.err);
  t.same(await all('other'), [], 'in another number of state shards');
  t.equal(
    (await ask('/other/derived?key=k1')).answer,
    KEYS,
    'what the component derives from its shards was derived anew',
  );

  const file = await readFile(path);
  const damaged = join(folder, 'damaged.state');
  const broken = Buffer.from(file);
  const at = Math.floor(file.length / 2);
  broken[at] = (broken[at] as number) ^ 1;
  await set('carts', 'new', 'again');
  for (const [bytes, what] of [
    [broken, /damaged.state: at byte \d+: .*\(SHOAL_E_STATE_DAMAGED\)/],
    [file.subarray(0, at), /damaged.state: at byte \d+: the file ends too early/],
  ] as const) {
    await writeFile(damaged, bytes);
    const refused = await shoal('state', 'import', 't/carts', damaged, '--replace');
    t.not(refused.code, 0);
    t.match(refused.err, what);
  }
  t.equal(await get('carts', 'new'), 'again', 'a damaged file is refused before anything is touched');

  for (const [words, code] of [
    [['state', 'import', 't/carts', path], 'SHOAL_E_USAGE'],
    [['state', 'import', 't/none', path, '--merge'], 'SHOAL_E_STATE_MODE'],
    [['state', 'export', 't/none', '-o', join(folder, 'none')], 'SHOAL_E_STATE_MODE'],
    [['state', 'export', 't/carts', '-o', join(folder, 'no', 'where')], 'SHOAL_E_USAGE'],
  ] as const) {
    const refused = await shoal(...words);
    t.equal(refused.code, 2, refused.out);
    t.match(refused.err, code);
  }
  t.same((await readdir(folder)).sort(), ['carts.state', 'damaged.state'], 'what failed has left nothing');

  const ended = startCli(['state', 'import', 't/carts', path, '--replace', '--server', cluster.server]);
  ended.child.kill('SIGKILL');
  await ended.ended;
  const again = await shoal('state', 'import', 't/carts', path, '--replace');
  t.equal(again.code, 0, again.err);
  t.same(await all('carts'), [], 'an import that was killed is run again');
  t.equal(await get('carts', 'new'), undefined);
  t.equal((await stat(path)).mode & 0o777, 0o600);
});
