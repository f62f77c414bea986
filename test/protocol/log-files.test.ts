import { appendFile, link, mkdir, mkdtemp, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { LOG_BEGINNING, type LogCursor, type LogFrom } from '../../protocol/log.js';
import { readLogPiece } from '../../protocol/log-files.js';

/** Lines `from` to before `to`, numbered and long, so that a few thousand are more than one piece. */
function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => `${from + i} ${'x'.repeat(90)}\n`).join('');
}

async function logIn(t: { teardown(action: () => Promise<void>): void }) {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-logs-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const log = join(folder, 'log');
  const ignoreMissing = () => undefined;
  /** As the shim does it. */
  const rotate = async () => {
    await rename(`${log}.1`, `${log}.2`).catch(ignoreMissing);
    await rename(log, `${log}.1`);
  };
  return { folder, log, rotate };
}

/** All that there is from a place on, piece by piece, and where it ends. */
async function rest(folder: string, from: LogFrom): Promise<{ text: string; next: LogCursor | null }> {
  const pieces: Uint8Array[] = [];
  for (let at = from; ; ) {
    const { bytes, next } = await readLogPiece(folder, at);
    if (next === null) return { text: '', next };
    pieces.push(bytes);
    if (bytes.length === 0) return { text: Buffer.concat(pieces).toString(), next };
    if (bytes.length > LIMITS.logPieceBytesMax) throw new Error(`a piece of ${bytes.length} bytes`);
    at = next;
  }
}

async function after(folder: string, from: LogFrom): Promise<{ text: string; next: LogCursor }> {
  const { text, next } = await rest(folder, from);
  if (next === null) throw new Error('there is no log');
  return { text, next };
}

t.test('who asks on sees every line once, also when it is written to and rotated at any moment', async (t) => {
  const { folder, log, rotate } = await logIn(t);
  await writeFile(`${log}.1`, lines(0, 10));
  await writeFile(log, lines(10, 20));
  const tail = await readLogPiece(folder, { tail: 12 });
  let text = Buffer.from(tail.bytes).toString();
  t.equal(text, lines(8, 20));
  // Since then more than one piece, a rotation, and more again.
  await appendFile(log, lines(20, 4_000));
  const first = await readLogPiece(folder, tail.next as LogCursor);
  t.equal(first.bytes.length, LIMITS.logPieceBytesMax);
  text += Buffer.from(first.bytes).toString();
  await rotate();
  await appendFile(`${log}.1`, lines(4_000, 6_000));
  let more = await after(folder, first.next as LogCursor);
  text += more.text;
  t.equal(text, lines(8, 6_000), 'nothing has been written since the rotation');
  await writeFile(log, lines(6_000, 6_010));
  more = await after(folder, more.next);
  text += more.text;
  // Two rotations between two questions: what is in the middle is read too.
  await appendFile(log, lines(6_010, 6_020));
  await rotate();
  await writeFile(log, lines(6_020, 6_030));
  await rotate();
  await writeFile(log, lines(6_030, 6_040));
  more = await after(folder, more.next);
  t.equal(text + more.text, lines(8, 6_040));
  t.equal((await readLogPiece(folder, more.next)).bytes.length, 0);
  t.same((await readLogPiece(folder, more.next)).next, more.next);
});

t.test('the last lines, across files and parts of files', async (t) => {
  const { folder, log } = await logIn(t);
  await writeFile(`${log}.2`, lines(0, 3_000));
  await writeFile(`${log}.1`, lines(3_000, 3_002));
  await writeFile(log, `${lines(3_002, 5_000)}not ended`);
  for (const tail of [0, 1, 7, 1_998, 1_999, 2_000, 2_001, 3_500, 5_000, 100_000])
    t.equal((await after(folder, { tail })).text, `${lines(Math.max(0, 5_000 - tail), 5_000)}not ended`, `${tail}`);
  await appendFile(log, '\n');
  t.equal((await after(folder, { tail: 0 })).text, '');
  t.equal((await after(folder, { tail: 1 })).text, 'not ended\n');
});

t.test('no log yet; then it is read from its beginning', async (t) => {
  const { folder, log } = await logIn(t);
  for (const from of [{ tail: 5 }, LOG_BEGINNING])
    t.same(await readLogPiece(join(folder, 'none'), from), { bytes: new Uint8Array(), next: null });
  await writeFile(log, '');
  const { text, next } = await after(folder, LOG_BEGINNING);
  t.equal(text, '');
  await appendFile(log, 'first\n');
  t.equal((await after(folder, next)).text, 'first\n');
  t.equal((await after(folder, LOG_BEGINNING)).text, 'first\n');
});

t.test('what was rotated away is passed over: it goes on with the oldest that there is', async (t) => {
  const { folder, log, rotate } = await logIn(t);
  await writeFile(log, lines(0, 10));
  const { next } = await after(folder, { tail: 3 });
  for (let i = 1; i <= 4; i += 1) {
    await rotate();
    await writeFile(log, lines(10 * i, 10 * i + 10));
  }
  t.equal((await after(folder, next)).text, lines(20, 50));
});

t.test('a new file with the inode of one that is gone is not taken for it', async (t) => {
  const { folder, log } = await logIn(t);
  await writeFile(log, lines(0, 10));
  const { next } = await after(folder, { tail: 3 });
  const { ino } = await stat(log);
  t.match(next.file, new RegExp(`^${ino}-`), 'the inode is a part of it');
  const [, born] = next.file.split('-');
  if (born === '0') return t.comment('this file system does not know when files are made');
  t.equal((await after(folder, { ...next, file: `${ino}-1` })).text, lines(0, 10));
  // The log of a build that is built again.
  await truncate(log);
  await appendFile(log, 'anew\n');
  t.equal((await after(folder, next)).text, 'anew\n');
});

t.test('links are not followed, and what cannot be read is an error', async (t) => {
  const { folder, log } = await logIn(t);
  await writeFile(join(folder, 'secret'), 'secret\n');
  await symlink(join(folder, 'secret'), log);
  await t.rejects(readLogPiece(folder, { tail: 1 }), { code: 'ELOOP' });
  await t.rejects(readLogPiece(join(folder, 'secret'), { tail: 1 }), { code: 'ENOTDIR' });
  await rm(log);
  // As while it is being rotated: a file is met twice.
  await writeFile(log, 'once\n');
  await link(log, `${log}.1`);
  t.equal((await after(folder, { tail: 9 })).text, 'once\n');
  await mkdir(join(folder, 'empty'));
  t.equal((await rest(join(folder, 'empty'), { tail: 1 })).next, null);
});
