import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { shardOfKey } from '../../protocol/shard.js';

t.test('any messages cut at any places come out as they went in', async (t) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.dictionary(
          fc.string().filter((key) => key !== '__proto__'),
          fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
        ),
      ),
      fc.integer({ min: 1, max: 13 }),
      (messages, step) => {
        const bytes = Buffer.concat(messages.map(encodeFrame));
        const reader = new FrameReader();
        const read: unknown[] = [];
        for (let at = 0; at < bytes.length; at += step) read.push(...reader.push(bytes.subarray(at, at + step)));
        t.strictSame(
          read,
          messages.map((message) => ({ ...message })),
        );
      },
    ),
    { numRuns: 50 },
  );
});

t.test('a peer that sends byte by byte does not fill the memory', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const frame = encodeFrame('x'.repeat(1_000_000));
  const reader = new FrameReader();
  collect();
  const before = process.memoryUsage();
  // Each a buffer of its own, as a socket gives them.
  for (const byte of frame.subarray(0, -1)) reader.push(Buffer.alloc(1, byte));
  collect();
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.external - before.heapUsed - before.external;
  t.ok(grown < 20e6, `${grown} bytes are kept for a frame of 1 MB`);
  t.strictSame(reader.push(frame.subarray(-1)), ['x'.repeat(1_000_000)]);
});

t.test('a frame that announces too much is refused before it is buffered', async (t) => {
  const header = Buffer.alloc(4);
  header.writeUInt32LE(LIMITS.frameBytesMax + 1);
  t.throws(() => new FrameReader().push(header), { code: 'SHOAL_E_FRAME' });
});

t.test('a frame that is not msgpack is refused', async (t) => {
  t.throws(() => new FrameReader().push(Buffer.from([1, 0, 0, 0, 0x92])), { code: 'SHOAL_E_FRAME' });
});

t.test('keys spread over all state shards', async (t) => {
  const counts = new Array<number>(64).fill(0);
  for (let i = 0; i < 6400; i++) (counts[shardOfKey(`key-${i}`, 64)] as number)++;
  t.ok(Math.min(...counts) > 50, `the emptiest shard has ${Math.min(...counts)} of 100 expected`);
  t.ok(Math.max(...counts) < 200, `the fullest shard has ${Math.max(...counts)} of 100 expected`);
});
