import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { followLog, logFiles, tailLines } from '../../coordinator/api/logs.js';

/** Lines `from` to before `to`, numbered and long, so that a few thousand are more than one read. */
function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => `${from + i} ${'x'.repeat(90)}\n`).join('');
}

async function folderOf(t: { teardown(action: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-logs-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

t.test('who follows a log sees every line once, also when it is written to and rotated at any moment', async (t) => {
  const folder = await folderOf(t);
  const log = join(folder, 'log');
  await writeFile(join(folder, 'log.1'), lines(0, 10));
  await writeFile(log, lines(10, 20));
  const ended = new AbortController();
  const follow = followLog(folder, 12, ended.signal);
  let text = String((await follow.next()).value);
  // Between the tail and the first look: more than one read's worth, a rotation, and more again.
  await appendFile(log, lines(20, 3_000));
  await rename(log, join(folder, 'log.1'));
  await appendFile(join(folder, 'log.1'), lines(3_000, 6_000));
  await writeFile(log, lines(6_000, 6_010));
  while (!text.endsWith(lines(6_009, 6_010))) text += String((await follow.next()).value);
  t.equal(text, lines(8, 6_010));
  ended.abort();
  t.equal((await follow.next()).done, true);
});

t.test('a log that is not there yet is followed from its beginning', async (t) => {
  const folder = await folderOf(t);
  const ended = new AbortController();
  const follow = followLog(folder, 5, ended.signal);
  t.equal((await follow.next()).value, '');
  const next = follow.next();
  await writeFile(join(folder, 'log'), 'first\n');
  t.equal(String((await next).value), 'first\n');
  ended.abort();
  t.equal((await follow.next()).done, true);
});

t.test('a folder that cannot be read is an error, one that is not there has no logs', async (t) => {
  const folder = await folderOf(t);
  t.strictSame(await logFiles(join(folder, 'none')), []);
  await writeFile(join(folder, 'file'), '');
  await t.rejects(logFiles(join(folder, 'file')), { code: 'ENOTDIR' });
  t.equal(await tailLines([], 3, 'a\nb\nc\nd\n'), 'b\nc\nd\n');
});
