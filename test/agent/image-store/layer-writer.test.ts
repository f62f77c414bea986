import { lstat, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { LayerWriter } from '../../../agent/image-store/layer-writer.js';
import { TarReader } from '../../../agent/image-store/tar.js';
import { archive, type Header, pax } from './archive.js';

const LIMITS = { entriesMax: 50, bytesMax: 1_000_000 };

async function unpack(t: Test, headers: Header[], limits = LIMITS) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-layer-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'outside'), 'untouched');
  const hidden: string[] = [];
  const root = join(folder, 'root');
  const writer = new LayerWriter(root, limits, {
    markDeleted: (path) => hidden.push(`deleted ${path.slice(root.length)}`),
    markOpaque: (path) => hidden.push(`opaque ${path.slice(root.length)}`),
  });
  const reader = new TarReader(writer);
  let refusal = '';
  try {
    reader.push(archive(...headers));
    reader.finish();
    writer.finish();
  } catch (error) {
    refusal = (error as Error).message;
  }
  t.equal(await readFile(join(folder, 'outside'), 'utf8'), 'untouched');
  t.same((await readdir(folder)).sort(), ['outside', 'root']);
  return { root, hidden, refusal, bytes: writer.bytes };
}

t.test('files, folders and links are written with their modes, owners and times, devices are left out', async (t) => {
  const { root, refusal } = await unpack(t, [
    { path: './', type: '5', mode: 0o700 },
    { path: 'bin/', type: '5', mode: 0o750 },
    { path: 'bin/tool', content: 'program', mode: 0o4755, uid: 1000 },
    { path: 'bin/same', type: '1', target: './bin/tool' },
    { path: 'link', type: '2', target: '/etc/shadow' },
    { path: 'dev/null', type: '3' },
    { path: '/absolute/./deep//file', content: 'here' },
  ]);
  t.equal(refusal, '');
  const tool = await lstat(join(root, 'bin/tool'));
  t.match(tool, { uid: 1000, mtimeMs: 1_700_000_000_000, nlink: 2 });
  t.equal(tool.mode & 0o7777, 0o755, 'no set-user-id');
  t.match(await lstat(join(root, 'bin')), { mtimeMs: 1_700_000_000_000 });
  t.equal((await lstat(root)).mode & 0o777, 0o755, 'every user of an instance can pass the root');
  t.equal(await readFile(join(root, 'absolute/deep/file'), 'utf8'), 'here');
  t.ok((await lstat(join(root, 'link'))).isSymbolicLink());
  t.same(await readdir(join(root)).then((names) => names.sort()), ['absolute', 'bin', 'link']);
});

t.test('no entry leads out of the layer', async (t) => {
  const cases: [Header[], RegExp][] = [
    [[{ path: '../outside', content: 'x' }], /not allowed/],
    [[{ path: 'a/../../outside', content: 'x' }], /not allowed/],
    [
      [
        { path: 'out', type: '2', target: '..' },
        { path: 'out/outside', content: 'x' },
      ],
      /used as a folder/,
    ],
    [
      [
        { path: 'out', type: '2', target: '..' },
        { path: 'out/new', type: '5' },
      ],
      /used as a folder/,
    ],
    [
      [
        { path: 'out', type: '2', target: '..' },
        { path: 'in', type: '1', target: 'out/outside' },
      ],
      /does not have/,
    ],
    [[{ path: 'in', type: '1', target: '../outside' }], /not allowed/],
    [[{ path: 'in', type: '1', target: '/etc/passwd' }], /does not have/],
    [[{ path: 'out', type: '2', target: '..' }, { path: 'out/.wh.outside' }], /used as a folder/],
    [[{ path: '.wh...' }], /names nothing/],
    [[{ path: '.wh.' }], /names nothing/],
    [[pax({ path: `${'d/'.repeat(200)}f` }), { path: 'f' }], /not allowed/],
  ];
  for (const [headers, message] of cases) {
    const { refusal } = await unpack(t, headers);
    t.match(refusal, message, JSON.stringify(headers));
  }
});

t.test('a link that a file replaces is replaced, not followed', async (t) => {
  const { root, refusal } = await unpack(t, [
    { path: 'name', type: '2', target: '../outside' },
    { path: 'name', content: 'mine' },
    { path: 'folder/inner', content: 'x' },
    { path: 'folder', type: '2', target: '..' },
  ]);
  t.equal(refusal, '');
  t.equal(await readFile(join(root, 'name'), 'utf8'), 'mine');
  t.ok((await lstat(join(root, 'folder'))).isSymbolicLink());
});

t.test('whiteouts hide what is below, never what the layer itself brings', async (t) => {
  const { hidden, refusal } = await unpack(t, [
    { path: 'gone/.wh.file' },
    { path: 'back/.wh.file' },
    { path: 'back/file', content: 'again' },
    { path: '.wh.anew' },
    { path: 'anew/', type: '5' },
    { path: 'emptied/.wh..wh..opq' },
    { path: '.wh..wh.plnk/17' },
  ]);
  t.equal(refusal, '');
  t.same(hidden, ['deleted /gone/file', 'opaque /emptied', 'opaque /anew']);
});

t.test('a bomb ends at the limits', async (t) => {
  const many = Array.from({ length: 51 }, (_, i) => ({ path: `f${i}` }));
  t.match((await unpack(t, many)).refusal, /more than 50 entries/);
  const big = { path: 'big', content: 'x'.repeat(900_000) };
  t.match((await unpack(t, [big, { ...big, path: 'bigger' }])).refusal, /more than 1000000 bytes/);
});
