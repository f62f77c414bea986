import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { native } from '../../../native/index.js';
import {
  newSegmentHeader,
  SEGMENT_HEADER_BYTES,
  SEGMENT_WORD,
  segmentBytesFor,
} from '../../../protocol/state-segment.js';
import { stateName } from '../../../sdk/state/key-bytes.js';
import { ShardLog } from '../../../sdk/state/shard-log.js';
import { KILL_KEYS, KILL_LIMITS, killValue } from './kill-plan.js';

const WRITER = fileURLToPath(new URL('writer.js', import.meta.url));
const KILLS = 20;
const WAIT_MS_MAX = 30_000;

/** Runs a writer until it has acknowledged some writes, and kills it; the number of the last one acknowledged. */
async function writeAndKill(path: string, epoch: number, from: number, writes: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, path, `${epoch}`, `${from}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), WAIT_MS_MAX);
  let said = '';
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    for (const byte of chunk) if (byte === 10) lines += 1;
    if (lines >= writes) child.kill('SIGKILL');
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  if (lines < writes) throw new Error(`the writer wrote ${lines} of ${writes} times: ${code ?? signal} ${errors}`);
  return Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1));
}

function expected(last: number): Map<string, string> {
  const entries = new Map<string, string>();
  for (let n = 0; n <= last; n += 1) {
    const key = `k-${n % KILL_KEYS}`;
    if (n % 5 === 4) entries.delete(key);
    else entries.set(key, killValue(n).toString());
  }
  return entries;
}

t.test('what was acknowledged is there after the SIGKILL of its writer, at any time', async (t) => {
  const folder = mkdtempSync('/dev/shm/shoal-test-');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'segment');
  writeFileSync(path, newSegmentHeader(KILL_LIMITS.shardBytesMax));
  truncateSync(path, segmentBytesFor(KILL_LIMITS.shardBytesMax));
  const name = stateName('n');
  let next = 0;
  let generation = 0;
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const last = await writeAndKill(path, 2 * kill, next, 150 + ((kill * 97) % 400));
    const memory = native.openSharedFile(openSync(path, 'r+'));
    const log = new ShardLog(memory, 'state shard 0', KILL_LIMITS);
    log.own(2 * kill + 1);
    generation = new Int32Array(memory.map(0, SEGMENT_HEADER_BYTES).buffer)[SEGMENT_WORD.generation] ?? 0;
    const found = new Map([...log.scan(name)].map(({ key, value }) => [key, Buffer.from(value).toString()]));
    log.close();
    // The write after the last that was acknowledged may have happened or not.
    const after = [expected(last), expected(last + 1)].map((each) => JSON.stringify([...each].sort()));
    const which = after.indexOf(JSON.stringify([...found].sort()));
    t.ok(which >= 0, `kill ${kill} after write ${last}`);
    if (which < 0) return;
    next = last + 1 + which;
  }
  t.ok(generation > 3, `garbage was taken out ${generation} times`);
});
