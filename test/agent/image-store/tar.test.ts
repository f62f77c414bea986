import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { type TarEntry, TarError, TarReader } from '../../../agent/image-store/tar.js';
import { archive, entry, pax } from './archive.js';

interface Read extends TarEntry {
  content: string;
}

function read(bytes: Buffer, step = bytes.length): Read[] {
  const found: Read[] = [];
  const reader = new TarReader({
    entry: (told) => found.push({ ...told, content: '' }),
    data: (chunk) => {
      (found.at(-1) as Read).content += chunk.toString();
    },
    end: () => undefined,
  });
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
  reader.finish();
  return found;
}

t.test('what GNU tar writes is read the same, in its own form and in pax, in pieces of any length', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-tar-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const long = `${'a-long-name-'.repeat(12)}ä`;
  await mkdir(join(folder, 'in', long), { recursive: true });
  await writeFile(join(folder, 'in', long, 'file'), 'x'.repeat(1_500), { mode: 0o750 });
  await symlink(`../${long}/file`, join(folder, 'in/link'));
  for (const format of ['gnu', 'pax']) {
    const words = ['-C', join(folder, 'in'), `--format=${format}`, '--owner=1000', '--group=3000000', '-c', '.'];
    const bytes = execFileSync('tar', words);
    const whole = read(bytes);
    t.same(read(bytes, 7), whole, format);
    const link = whole.find(({ kind }) => kind === 'symbolic-link');
    t.match(link, { target: `../${long}/file`, uid: 1000 });
    const file = whole.find(({ kind }) => kind === 'file');
    t.match(file, { path: `./${long}/file`, bytes: 1_500, mode: 0o750, uid: 1000, gid: 3_000_000 });
    t.equal(file?.content, 'x'.repeat(1_500));
  }
});

t.test('a broken archive is refused with what is wrong', async (t) => {
  const good = archive({ path: 'file', content: 'content' });
  const damaged = Buffer.from(good);
  damaged[0] = 0x21;
  const cases: [Buffer, RegExp][] = [
    [damaged, /wrong checksum/],
    [good.subarray(0, 515), /cut off/],
    [good.subarray(0, 300), /cut off/],
    [archive({ path: 'file', type: 'S' }), /sparse/],
    [archive({ path: 'file', type: 'V' }), /unknown kind/],
    [archive({ path: 'x', type: 'x', size: 2 ** 30 }), /extended header has/],
    [archive({ path: 'x', type: 'x', content: '99 path=a\n' }), /broken record/],
    [archive({ path: 'x', type: 'x', content: '1' }), /broken record/],
    [archive(pax({ size: '-5' }), { path: 'file' }), /impossible size/],
    [archive(pax({ uid: 'many' }), { path: 'file' }), /impossible owner/],
    [archive(pax({ path: 'a/'.repeat(4_000) }), { path: 'file' }), /too long/],
    [archive(pax({ 'GNU.sparse.major': '1' }), { path: 'file' }), /sparse/],
  ];
  for (const [bytes, message] of cases) t.throws(() => read(bytes), message);
});

t.test('no bytes make it do anything but read entries or refuse', async () => {
  const seed = Buffer.concat([entry({ path: 'a', content: 'hello' }), archive(pax({ path: 'b' }), { path: 'c' })]);
  const change = fc.record({ at: fc.nat(seed.length - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 6 }), (changes) => {
      const bytes = Buffer.from(seed);
      for (const { at, byte } of changes) bytes[at] = byte;
      // With the checksums put right, so that what is behind them is reached.
      for (let at = 0; at + 512 <= bytes.length; at += 512) {
        const block = bytes.subarray(at, at + 512);
        block.fill(0x20, 148, 156);
        block.write(
          `${block
            .reduce((sum, byte) => sum + byte, 0)
            .toString(8)
            .padStart(6, '0')}\0`,
          148,
          'latin1',
        );
      }
      try {
        for (const { bytes: size } of read(bytes)) if (size < 0) throw new Error('a negative size');
      } catch (error) {
        if (!(error instanceof TarError)) throw error;
      }
    }),
    { numRuns: 300 },
  );
});
