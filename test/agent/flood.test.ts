import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Control } from '../../agent/control.js';
import { encodeFrame } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { TokenBucket } from '../../protocol/token-bucket.js';
import { until } from '../../scripts/lib/until.js';
import { ALL_SHARDS, Rig } from '../sdk/rig.js';

const PER_SECOND = LIMITS.controlMessagesPerSecondMax;
const BURST = LIMITS.controlMessagesBurstMax;

t.test('a bucket lets a burst pass, and no more than the rate in the long run', async () => {
  const step = fc.record({ ms: fc.integer({ min: 0, max: 5_000 }), tokens: fc.integer({ min: 0, max: 40 }) });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let nowMs = 3;
      const bucket = new TokenBucket(10, 50, () => nowMs);
      let taken = 0;
      for (const { ms, tokens } of steps) {
        nowMs += ms + bucket.debtMs();
        if (bucket.debtMs() > 0) return false;
        bucket.take(tokens);
        taken += tokens;
        // Only the last one may go beyond.
        if (taken - tokens > 50 + (10 * (nowMs - 3)) / 1_000 + 1e-6) return false;
      }
      return true;
    }),
  );
});

t.test('what is given comes on top of the burst and is used up', async (t) => {
  const bucket = new TokenBucket(10, 50, () => 0);
  bucket.give(30);
  bucket.take(80);
  t.equal(bucket.debtMs(), 0);
  bucket.take(1);
  t.equal(bucket.debtMs(), 100);
});

t.test('what is given back is there again, and no more than the burst', async (t) => {
  const bucket = new TokenBucket(10, 50, () => 0);
  bucket.take(60);
  bucket.giveBack(30);
  t.equal(bucket.debtMs(), 0);
  bucket.giveBack(1_000);
  bucket.take(51);
  t.equal(bucket.debtMs(), 100);
});

interface Heard {
  control: Control;
  path: string;
  ready: number;
  floods: number;
}

async function listen(t: Test, id: string): Promise<Heard> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-flood-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const control = new Control(id, {
    waits() {},
    copiesWanted() {},
    hello() {},
    warm() {},
    ready: () => {
      heard.ready += 1;
    },
    stats() {},
    wanted() {},
    flooded: () => {
      heard.floods += 1;
    },
    closed() {},
  });
  const heard: Heard = { control, path: join(folder, 'agent.sock'), ready: 0, floods: 0 };
  t.teardown(() => control.close());
  await control.listen(folder, process.geteuid?.() ?? 0);
  return heard;
}

function dial(t: Test, { path }: Heard): Socket {
  const socket = connect(path);
  socket.on('error', () => socket.destroy());
  t.teardown(() => socket.destroy());
  return socket;
}

/** Sends the frame over and over, as fast as it is taken. */
function flood(socket: Socket, frame: Buffer): void {
  const many = Buffer.concat(Array.from({ length: 64 }, () => frame));
  const more = () => {
    if (!socket.destroyed) socket.write(many, more);
  };
  more();
}

t.test('a process that says too much is read no faster than it may, and stays connected', async (t) => {
  const heard = await listen(t, 'a-b-0');
  const other = await listen(t, 'a-b-1');
  const startMs = performance.now();
  flood(dial(t, heard), encodeFrame({ type: 'ready', padding: 'x'.repeat(1_000) }));
  await until(() => heard.floods > 0);
  dial(t, other).write(encodeFrame({ type: 'ready' }));
  await until(() => other.ready === 1);
  await until(() => heard.floods > 3);
  const most = BURST + (PER_SECOND * (performance.now() - startMs)) / 1_000;
  // The messages of one more read.
  t.ok(heard.ready > BURST / 2 && heard.ready < most + 70, `${heard.ready} messages, ${Math.round(most)} allowed`);
  t.ok(heard.control.connected);
  t.equal(other.floods, 0);
});

t.test('large messages count by their bytes', async (t) => {
  const heard = await listen(t, 'a-b-0');
  flood(dial(t, heard), encodeFrame({ type: 'ready', padding: Buffer.alloc(2 ** 20) }));
  await until(() => heard.floods > 0);
  t.ok(heard.ready < 2 * (BURST / 16), `${heard.ready} MiB`);
});

t.test('dialling again does not help; a new process begins anew', async (t) => {
  const heard = await listen(t, 'a-b-0');
  flood(dial(t, heard), encodeFrame({ type: 'ready' }));
  await until(() => heard.floods > 0);
  const before = heard.ready;
  const again = dial(t, heard);
  await new Promise((resolve) => again.once('close', resolve));
  t.equal(heard.ready, before);
  heard.control.forget();
  dial(t, heard).write(encodeFrame({ type: 'ready' }));
  await until(() => heard.ready === before + 1);
  t.pass('it is heard');
});

t.test('an honest process never says too much, however much it is asked', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const [one, two] = [await rig.start('store', 'a-store-0'), await rig.start('store', 'a-store-1')];
  await rig.own(one, ALL_SHARDS);
  for (let round = 0; round < 6; round += 1) {
    const [from, to] = round % 2 === 0 ? [one, two] : [two, one];
    await Promise.all(ALL_SHARDS.map((shard) => rig.move(shard, from, to)));
  }
  t.same(rig.flooded, []);
});
