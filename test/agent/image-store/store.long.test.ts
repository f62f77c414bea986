import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { ImageCounts } from '../../../agent/image-store/counts.js';
import { ImageStore } from '../../../agent/image-store/store.js';
import { native } from '../../../native/index.js';
import { makeLayout } from './layout.js';
import { Registry, trustRegistry } from './registry.js';

const USER = fileURLToPath(new URL('./store-user.js', import.meta.url));
const ROOM = 2 ** 30;
const ROUNDS = 8;

const base = [
  { path: 'bin/', type: '5', mode: 0o755 },
  ...Array.from({ length: 300 }, (_, i) => ({ path: `bin/tool-${i}`, content: `tool ${i} `.repeat(500) })),
  { path: 'etc/removed', content: 'x' },
  { path: 'data/old', content: 'x' },
];
const top = [
  { path: 'etc/.wh.removed' },
  { path: 'data/.wh..wh..opq' },
  { path: 'data/new', content: 'new' },
  { path: 'app', content: 'app' },
];

async function makeFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-store-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function start(folder: string, bytes: number, ...references: string[]): ChildProcess {
  // A group of its own, so that all of it can be killed at once as when the power is cut.
  const words = ['--mount', '--propagation', 'slave', process.execPath, USER, folder, String(bytes), ...references];
  return spawn('unshare', words, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
}

async function run(folder: string, bytes: number, ...references: string[]): Promise<Record<string, unknown>[]> {
  const child = start(folder, bytes, ...references);
  let said = '';
  let complaint = '';
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(complaint);
  return said
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

t.test('images share layers, whiteouts hold, and what both have in common is there once', async (t) => {
  const folder = await makeFolder(t);
  const one = await makeLayout(join(folder, 'one'), [base], { Cmd: ['/bin/tool-1'], Env: ['A=b=c'] });
  const two = await makeLayout(join(folder, 'two'), [base, top], { Entrypoint: ['/app'], WorkingDir: '/data' });
  const none = await makeLayout(join(folder, 'none'), []);
  const [first, second, third] = await run(folder, ROOM, one, two, none);
  t.match(first, { command: ['/bin/tool-1'], env: { A: 'b=c' }, workingFolder: '/' });
  t.match(second, { command: ['/app'], workingFolder: '/data' });
  t.match(first?.rootfs, { 'etc/removed': /^[0-9a-f]{8}$/, 'data/old': /./, proc: 'folder' });
  const content = second?.rootfs as Record<string, string>;
  t.match(content, { app: /./, 'data/new': /./, 'bin/tool-299': /./ });
  t.notOk('etc/removed' in content || 'data/old' in content);
  t.same(third?.rootfs, { proc: 'folder' });
  t.equal((await readdir(join(folder, 'store/layers'))).length, 2);
  t.same(await readdir(join(folder, 'store/partial')), []);

  await rm(join(folder, 'two'), { recursive: true });
  t.same((await run(folder, ROOM, two))[0]?.rootfs, content, 'the second time nothing is fetched');
});

t.test('of two tags of a registry at once each layer is fetched once; a docker-archive is the same root', async (t) => {
  const folder = await makeFolder(t);
  const layout = await makeLayout(join(folder, 'layout'), [base, top], { Cmd: ['/app'] });
  const registry = new Registry(join(folder, 'layout'));
  const address = await registry.open();
  t.teardown(() => registry.close());
  await trustRegistry(t, folder, address);
  const [one, two] = await run(folder, ROOM, `${address}/image:v1`, `${address}/image:v2`);
  t.match(one, { command: ['/app'], rootfs: { app: /./, 'data/new': /./ } });
  t.same(two, one);
  const layers = await layersOf(folder, registry);
  t.same(registry.given.filter((digest) => layers.includes(digest)).sort(), layers.sort());

  const file = join(folder, 'image.tar');
  execFileSync('skopeo', ['copy', '--quiet', layout, `docker-archive:${file}:name:v1`]);
  await rm(join(folder, 'store'), { recursive: true });
  const { command, rootfs } = one ?? {};
  t.match((await run(folder, ROOM, `docker-archive:${file}`))[0], { command, rootfs });
});

t.test('an image does not wait for ever for another one of its registry that is slow to come', async (t) => {
  const folder = await makeFolder(t);
  await makeLayout(join(folder, 'layout'), [base, top]);
  const registry = new Registry(join(folder, 'layout'));
  const address = await registry.open();
  t.teardown(() => registry.close());
  await trustRegistry(t, folder, address);
  const [layer = ''] = await layersOf(folder, registry);
  registry.slow = layer;
  const [one, two] = await run(folder, ROOM, `${address}/image:v1`, `${address}/image:v2`);
  t.match(one?.rootfs, { app: /./, 'data/new': /./ });
  t.same(two, one);
  t.equal(registry.given.filter((digest) => digest === layer).length, 2, 'what both have has come twice');
});

/** Digests of the layers of its image, whose layout is in the folder. */
async function layersOf(folder: string, registry: Registry): Promise<string[]> {
  const manifest = await readFile(join(folder, 'layout/blobs/sha256', (await registry.digest()).slice(7)), 'utf8');
  return (JSON.parse(manifest) as { layers: { digest: string }[] }).layers.map(({ digest }) => digest);
}

t.test('a damaged archive is fetched anew, and a layer that is not what it should be is never used', async (t) => {
  const folder = await makeFolder(t);
  const reference = await makeLayout(join(folder, 'image'), [base]);
  await run(folder, ROOM, reference);
  await rm(join(folder, 'store/layers'), { recursive: true });
  const blobs = join(folder, 'store/blobs/sha256');
  for (const name of await readdir(blobs)) await writeFile(join(blobs, name), 'damaged');
  t.match((await run(folder, ROOM, reference))[0]?.rootfs, { 'bin/tool-7': /./ });

  const lying = await makeLayout(join(folder, 'lying'), [top], {}, ['sha256:'.padEnd(71, '0')]);
  await t.rejects(run(folder, ROOM, lying), /content of a layer has the digest sha256:\w+ and not sha256:0+/);
  t.equal((await readdir(join(folder, 'store/layers'))).length, 1);
  t.same(await readdir(join(folder, 'store/partial')), []);
});

t.test('what is not used is removed when the store is too big', async (t) => {
  const folder = await makeFolder(t);
  const reference = await makeLayout(join(folder, 'image'), [base, top]);
  await t.rejects(run(folder, 1_000, reference), /more than 1000 bytes/, 'an image that could never fit');
  await run(folder, ROOM, reference);
  const names = ['layers', 'images', 'partial', 'blobs/sha256'];
  const counts = async () =>
    Promise.all(names.map(async (name) => (await readdir(join(folder, 'store', name))).length));
  t.same(await counts(), [2, 1, 0, 4]);
  const layers = join(folder, 'store/layers');
  const sizes = await Promise.all((await readdir(layers)).map((name) => readFile(join(layers, name, 'bytes'), 'utf8')));
  const documents = 3_000;
  await run(
    folder,
    sizes.reduce((sum, bytes) => sum + Number(bytes), documents),
  );
  t.same(await counts(), [2, 1, 0, 2], 'archives of unpacked layers go first');
  await run(folder, 0);
  t.same(await counts(), [0, 0, 0, 0]);
});

t.test(
  'an image in use whose manifest is damaged keeps its layers, and keeps nothing else from being removed',
  async (t) => {
    const folder = await makeFolder(t);
    const used = await makeLayout(join(folder, 'used'), [base, top]);
    const other = await makeLayout(join(folder, 'other'), [[{ path: 'other', content: 'x' }]]);
    const content = await run(folder, ROOM, used, other);
    t.equal((await readdir(join(folder, 'store/layers'))).length, 3);
    const manifest = content[0]?.digest as string;
    await writeFile(join(folder, 'store/blobs/sha256', manifest.slice('sha256:'.length)), 'damaged');

    const nothing = () => Promise.reject(new Error('nothing is mounted'));
    const store = new ImageStore({
      ...{
        folder: join(folder, 'store'),
        mounts: '',
        mountPoints: nothing,
        hostSkeleton: nothing,
        bytesMax: 0,
        native,
      },
      ...{ clock: () => 0, log: pino({ level: 'silent' }), counts: new ImageCounts() },
    });
    await store.open();
    // As an agent does with the instances that it finds.
    store.hold(used, 'instance');
    await store.collect();
    const names = ['layers', 'images', 'blobs/sha256'];
    const counts = async () =>
      Promise.all(names.map(async (name) => (await readdir(join(folder, 'store', name))).length));
    t.same(await counts(), [2, 1, 0]);
    store.release('instance');
    await store.collect();
    t.same(await counts(), [0, 0, 0]);
    await run(folder, ROOM, used);
    t.equal((await readdir(join(folder, 'store/layers'))).length, 2, 'it can be had anew');
  },
);

t.test('killed anywhere in fetching, unpacking and removing, the store is whole the next time', async (t) => {
  const folder = await makeFolder(t);
  const references = [
    await makeLayout(join(folder, 'one'), [base]),
    await makeLayout(join(folder, 'two'), [base, top]),
  ];
  const begun = performance.now();
  const expected = await run(folder, ROOM, ...references);
  const tookMs = performance.now() - begun;
  const seen = new Set<string>();
  for (let round = 0; round < ROUNDS; round += 1) {
    // In turn one that fills an empty store, and one that empties it.
    const filling = round % 2 === 0;
    if (filling) await rm(join(folder, 'store'), { recursive: true, force: true });
    else await run(folder, ROOM, ...references);
    const child = filling ? start(folder, ROOM, ...references) : start(folder, 0);
    const closed = new Promise((resolve) => child.once('close', resolve));
    await Promise.race([closed, setTimeout(tookMs * (0.2 + (0.8 * round) / ROUNDS) * (filling ? 1 : 0.5))]);
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL');
    await closed;
    const files = await readdir(join(folder, 'store'), { recursive: true }).catch(() => []);
    seen.add(createHash('sha256').update(JSON.stringify(files.sort())).digest('hex'));
    t.same(await run(folder, ROOM, ...references), expected, `after kill ${round}`);
  }
  t.ok(seen.size > 4, `${seen.size} different states were seen`);
});
