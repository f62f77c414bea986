import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import t from 'tap';
import { native } from '../../native/index.js';
import { Ring, RingConsumer, RingProducer } from '../../native/ring.js';
import { RingLink, SPIN_MS_MAX } from '../../native/ring-link.js';
import type { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { until } from '../../scripts/lib/until.js';

const RING_BYTES = 4096;
const IDLE_TURNS_MAX = 3;
const MAPPING_BYTES = 4096 + 2 * RING_BYTES;
const ECHO = fileURLToPath(new URL('./ring-echo.js', import.meta.url));

/** Bytes that follow from number and length, so that a record that is not whole shows. */
function pattern(number: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (number * 31 + length * 7 + i * 13) & 255);
}

function ends(buffer = new ArrayBuffer(MAPPING_BYTES)) {
  const ring = new Ring(buffer, RING_BYTES, 1);
  return { ring, producer: new RingProducer(ring), consumer: new RingConsumer(ring) };
}

function put(producer: RingProducer, record: Uint8Array, more = false): boolean {
  const offset = producer.loan(record.length);
  if (offset < 0) return false;
  producer.bytes.set(record, offset);
  producer.commit(record.length, more);
  return true;
}

function taken(consumer: RingConsumer): Uint8Array {
  return consumer.bytes.slice(consumer.offset, consumer.offset + consumer.length);
}

t.test('records of every length pass, also while positions pass 2^32', async (t) => {
  const buffer = new ArrayBuffer(MAPPING_BYTES);
  const ring = new Ring(buffer, RING_BYTES, 1);
  ring.words[ring.control('head')] = -256;
  const { producer, consumer } = ends(buffer);
  for (let length = 0; length <= producer.lengthMax; length += 1) {
    const record = pattern(length, length);
    if (!put(producer, record, length % 3 === 0) || producer.publish()) t.fail('no room, or a bell for nobody');
    if (!consumer.next()) t.fail('no record');
    t.strictSame([taken(consumer), consumer.more], [record, length % 3 === 0]);
    if (consumer.next() || consumer.release()) t.fail('more than was sent');
  }
  t.throws(() => producer.loan(producer.lengthMax + 1), RangeError);
});

t.test('what is sent comes whole and in order, however it is batched and given back', async () => {
  const step = fc.oneof(
    fc.record({ put: fc.integer({ min: 0, max: 1000 }) }),
    fc.constantFrom('publish' as const, 'take' as const, 'release' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const { producer, consumer } = ends();
      const sent: Uint8Array[] = [];
      let received = 0;
      for (const [i, one] of steps.entries()) {
        if (one === 'publish') producer.publish();
        else if (one === 'release') consumer.release();
        else if (one === 'take') {
          if (!consumer.next()) continue;
          if (Buffer.compare(taken(consumer), sent[received] ?? Buffer.of(1, 2, 3)) !== 0) return false;
          received += 1;
        } else if (put(producer, pattern(i, one.put))) sent.push(pattern(i, one.put));
      }
      return true;
    }),
  );
});

t.test('a peer that scribbles causes nothing but SHOAL_E_FRAME', async () => {
  const scribble = fc.record({
    word: fc.nat({ max: MAPPING_BYTES / 4 - 1 }),
    value: fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.nat({ max: 2000 })),
    length: fc.nat({ max: 1016 }),
  });
  fc.assert(
    fc.property(fc.array(scribble, { maxLength: 200 }), (scribbles) => {
      const { ring, producer, consumer } = ends();
      try {
        for (const { word, value, length } of scribbles) {
          put(producer, new Uint8Array(length));
          producer.publish();
          // Where records are, as often as anywhere.
          ring.words[word % 2 === 0 ? word : (ring.start >>> 2) + (word % 64)] = value;
          if (producer.announceWait(length)) ring.words[ring.control('producerSleeps')] = 0;
          while (consumer.next())
            if (consumer.offset < ring.start || consumer.offset + consumer.length > ring.start + RING_BYTES)
              return false;
          consumer.release();
        }
        return true;
      } catch (error) {
        return (error as ShoalError).code === 'SHOAL_E_FRAME';
      }
    }),
    { numRuns: 500 },
  );
});

t.test('a producer in C that goes back to the begin of the ring is followed', async (t) => {
  const { ring, producer, consumer } = ends();
  put(producer, pattern(1, 100));
  producer.publish();
  t.ok(consumer.next());
  t.notOk(consumer.release());
  // As kFlagPadding of native/src/fabric/layout.h: up to the end of the ring, far longer than a record may be.
  const [present, padding] = [1 << 31, 1 << 29];
  const record = pattern(2, 8);
  ring.bytes.set(record, ring.start + 8);
  ring.words[ring.headerAt(2)] = 0;
  ring.words[ring.headerAt(0)] = present | record.length;
  ring.words[ring.headerAt(14)] = present | padding | (RING_BYTES - 112 - 8);
  t.ok(consumer.next());
  t.strictSame(taken(consumer), record);
  t.notOk(consumer.next());
});

t.test('each kind of broken header is refused, for good', async (t) => {
  const [present, more, padding] = [1 << 31, 1 << 30, 1 << 29];
  const size = RING_BYTES / 8;
  const cases: [number, number, string][] = [
    [8, 0, 'flags'],
    [present | more | padding | 8, 0, 'flags'],
    [present | (RING_BYTES / 4 - 7), 0, 'length'],
    [present | padding | 8, 0, 'length'],
    [present | 8, size - 1, 'length'],
  ];
  for (const [header, position, what] of cases) {
    const buffer = new ArrayBuffer(MAPPING_BYTES);
    const ring = new Ring(buffer, RING_BYTES, 1);
    ring.words[ring.control('head')] = position;
    ring.words[(ring.start >>> 2) + 2 * position] = header;
    const { consumer } = ends(buffer);
    t.throws(() => consumer.next(), { code: 'SHOAL_E_FRAME', message: new RegExp(what) });
    t.throws(() => consumer.next(), { code: 'SHOAL_E_FRAME' });
  }
});

t.test('nobody goes to sleep over news', async (t) => {
  const { ring, producer, consumer } = ends();
  t.equal(consumer.announceSleep(), true);
  put(producer, Buffer.of(1));
  t.equal(producer.publish(), true, 'the sleeper is to be woken');
  t.equal(consumer.announceSleep(), false);
  t.equal(ring.words[ring.control('consumerSleeps')], 0);
  while (put(producer, new Uint8Array(56))) producer.publish();
  t.equal(producer.announceWait(56), true);
  let struck = false;
  while (consumer.next()) struck = consumer.release() || struck;
  t.equal(struck, true, 'the waiting producer is to be woken');
  t.equal(producer.announceWait(56), false);
});

t.test('C++ and JavaScript agree on the memory, and no memory or descriptor is left', async (t) => {
  const before = (await readdir('/proc/self/fd')).length;
  const [one, two] = native.createChannel(RING_BYTES);
  const handle = native.openChannel(one, () => {});
  t.equal(handle.ringBytes, RING_BYTES);
  t.equal(handle.buffer.byteLength, MAPPING_BYTES);
  t.equal(Buffer.from(handle.buffer, 0, 4).toString(), 'SHAL');
  handle.close();
  handle.close();
  t.equal(handle.buffer.byteLength, 0, 'taken away from JavaScript before it is unmapped');
  for (const fd of Object.values(two)) closeSync(fd as number);
  // libuv lets go of a closed handle in its next turn.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  t.equal((await readdir('/proc/self/fd')).length, before);
  t.notMatch(await readFile('/proc/self/maps', 'utf8'), /shoal-channel/);
  t.throws(() => native.createChannel(5000), /power of two/);
  t.throws(() => native.openChannel({ memory: 0, strike: -1, listen: -1 }, () => {}), {
    code: 'EBADF',
    syscall: 'fcntl',
  });
});

interface Peer {
  link: RingLink;
  kill(): void;
  /** Of the whole life of the other process so far. */
  cpuTicks(): Promise<number>;
  closed: Promise<ShoalError | undefined>;
  exited: Promise<unknown>;
}

/** A link to a process that sends everything back. */
function echo(spinMs: number, onRecord: (record: Uint8Array) => void, onRoom: () => void = () => {}): Peer {
  const [mine, theirs] = native.createChannel(64 * 1024);
  const fds = [theirs.memory, theirs.strike, theirs.listen];
  const child = spawn(process.execPath, [ECHO, String(spinMs)], { stdio: ['ignore', 'inherit', 'inherit', ...fds] });
  for (const fd of fds) closeSync(fd);
  let link: RingLink | undefined;
  const closed = new Promise<ShoalError | undefined>((resolve) => {
    const events = {
      onRecord: (bytes: Uint8Array, offset: number, length: number) => onRecord(bytes.slice(offset, offset + length)),
      onRoom,
      onClose: resolve,
    };
    link = new RingLink(mine, 0, events, spinMs);
  });
  return {
    link: link as unknown as RingLink,
    kill: () => child.kill('SIGKILL'),
    cpuTicks: async () => {
      const fields = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    },
    closed,
    exited: new Promise((resolve) => child.once('exit', resolve)),
  };
}

for (const spinMs of [0, SPIN_MS_MAX])
  t.test(`two processes exchange more than the rings hold; spinning ${spinMs} ms`, async (t) => {
    const count = 20_000;
    const lengthOf = (i: number) => (i % 50 === 0 ? (i * 7) % 16_000 : i % 100);
    let [sent, received, wrong] = [0, 0, 0];
    let done = () => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const send = () => {
      while (sent < count && peer.link.send(pattern(sent, lengthOf(sent)))) sent += 1;
    };
    const take = (record: Uint8Array) => {
      if (Buffer.compare(record, pattern(received, lengthOf(received))) !== 0) wrong += 1;
      received += 1;
      if (received === count) done();
    };
    const peer = echo(spinMs, take, send);
    send();
    t.ok(sent < count, 'the sender had to wait for room');
    await all;
    t.equal(wrong, 0);
    peer.kill();
    t.equal(await peer.closed, undefined);
    t.equal(peer.link.send(Buffer.of(1)), false);
    await peer.exited;
  });

t.test('an idle end takes no CPU, and wakes up', async (t) => {
  let answer = (_record: Uint8Array) => {};
  const peer = echo(SPIN_MS_MAX, (record) => answer(record));
  const ask = () =>
    new Promise<Uint8Array>((resolve) => {
      answer = resolve;
      peer.link.send(Buffer.from('here?'));
    });
  await ask();
  const mine = process.cpuUsage();
  const theirs = await peer.cpuTicks();
  await new Promise((resolve) => setTimeout(resolve, 1_000)); // the time that is measured
  const { user, system } = process.cpuUsage(mine);
  t.ok(user + system < 100_000, `${(user + system) / 1000} ms`);
  t.ok((await peer.cpuTicks()) - theirs <= 5, 'of 100');
  t.equal(Buffer.from(await ask()).toString(), 'here?');
  peer.kill();
  await peer.exited;
  t.equal(await peer.closed, undefined);
});

t.test('a peer that breaks the ring closes the link with SHOAL_E_FRAME', async (t) => {
  const [mine, theirs] = native.createChannel(RING_BYTES);
  const hostile = native.openChannel(theirs, () => {});
  const error = await new Promise<ShoalError | undefined>((resolve) => {
    const link = new RingLink(mine, 0, { onRecord: () => {}, onRoom: () => {}, onClose: resolve }, 0);
    setImmediate(() => {
      const ring = new Ring(hostile.buffer, RING_BYTES, 1);
      ring.words[ring.start >>> 2] = 12345;
      hostile.strike();
      void link;
    });
  });
  t.match(error, { code: 'SHOAL_E_FRAME', message: /broke the ring: flags/ });
  hostile.close();
});

/** Turns of the event loop while nothing but one timer is due. */
async function turnsOfLoop(): Promise<number> {
  const { nodeTiming } = performance as unknown as { nodeTiming: { uvMetricsInfo: { loopCount: number } } };
  const before = nodeTiming.uvMetricsInfo.loopCount;
  await new Promise((resolve) => setTimeout(resolve, 50));
  return nodeTiming.uvMetricsInfo.loopCount - before;
}

const counts = 'uvMetricsInfo' in (performance as unknown as { nodeTiming: object }).nodeTiming;
t.test('idle channels wake nobody', { skip: counts ? false : 'this Node does not count turns' }, async (t) => {
  const took: number[] = [];
  const links = Array.from({ length: 100 }, (_, i) => {
    const [one, two] = native.createChannel(LIMITS.ringBytes);
    const events = { onRecord: () => took.push(i), onRoom() {}, onClose() {} };
    return [new RingLink(one, 0, events), new RingLink(two, 1, events)] as const;
  });
  t.teardown(() => {
    for (const link of links.flat()) link.close();
  });
  const untilIdle = async (): Promise<number> => {
    // One that wakes all the time, or by a timer of its own, never comes so low; the timer's own turn is one or two.
    for (let tries = 0; tries < 100; tries += 1) if ((await turnsOfLoop()) <= IDLE_TURNS_MAX) return tries;
    throw new Error('the channels never became idle');
  };
  await untilIdle();
  t.same(took, []);
  links[7]?.[0].send(pattern(1, 64));
  await until(() => took.length > 0);
  await untilIdle();
  t.same(took, [7], 'one that is written to wakes, and sleeps again');
});
