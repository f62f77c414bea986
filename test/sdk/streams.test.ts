import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { LIMITS } from '../../protocol/limits.js';
import { until } from '../../scripts/lib/until.js';
import { overBoth } from './rig.js';

/** More than a window holds. */
const COUNT = 2_200;

async function all(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function* upTo(count: number): Generator<number> {
  for (let i = 0; i < count; i += 1) yield i;
}

overBoth('a handler answers a stream, from whatever it is made', async (t, rig) => {
  const sources: Record<string, () => unknown> = {
    generator: () => upTo(COUNT),
    list: () => [...upTo(COUNT)],
    promises: () => [...upTo(COUNT)].map((each) => Promise.resolve(each)),
    readable: () => Readable.from(upTo(COUNT)),
    web: () => ReadableStream.from(upTo(COUNT)),
    async: async () => upTo(COUNT),
  };
  await rig.start('back', 'a-back-0', (app) => {
    for (const [name, make] of Object.entries(sources)) app.handle(name, make);
    app.handle('mixed', () => [null, 'text', { a: [1] }, Buffer.from('bytes'), undefined, 2.5]);
    app.handle('large', () => [Buffer.alloc(3 * 1024 * 1024, 7), 'after']);
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (const name of Object.keys(sources))
    t.equal(`${await all(app.stream('back', name, null))}`, `${[...upTo(COUNT)]}`, name);
  const mixed = await all(app.stream('back', 'mixed', null));
  t.same(mixed, [null, 'text', { a: [1] }, Buffer.from('bytes'), undefined, 2.5]);
  t.ok(Buffer.isBuffer(mixed[3]), 'bytes are a Buffer, as in a call');
  const [large, after] = await all(app.stream('back', 'large', null));
  t.ok((large as Buffer).equals(Buffer.alloc(3 * 1024 * 1024, 7)));
  t.equal(after, 'after');
});

overBoth('a handler reads a stream, and answers by one or by a value', async (t, rig) => {
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('sum', async (body, { input }) => {
      let sum = Number(body);
      for await (const each of input) sum += Number(each);
      return sum;
    });
    app.handle('double', async function* (_body, { input }) {
      for await (const each of input) yield 2 * Number(each);
    });
    app.handle('first', async (_body, { input }) => {
      for await (const each of input) return each;
      return 'none';
    });
    app.handle('ignore', () => 'nothing read');
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  t.equal(await app.call('back', 'sum', 1, { input: upTo(COUNT) }), 1 + (COUNT * (COUNT - 1)) / 2);
  t.equal(await app.call('back', 'sum', 1), 1, 'without an input there are no items');
  const doubled = app.stream('back', 'double', null, { input: Readable.from(upTo(COUNT)) });
  t.equal(`${await all(doubled)}`, `${[...upTo(COUNT)].map((each) => 2 * each)}`);
  let ended = 0;
  const endless = async function* () {
    try {
      for (let i = 0; ; i += 1) yield i;
    } finally {
      ended += 1;
    }
  };
  t.equal(await app.call('back', 'first', null, { input: endless() }), 0);
  await until(() => ended === 1);
  const unread = Readable.from(endless());
  t.equal(await app.call('back', 'ignore', null, { input: unread }), 'nothing read');
  t.ok(unread.destroyed, 'an input that nobody read is ended');
});

overBoth('a slow reader stops the writer', async (t, rig) => {
  const item = Buffer.alloc(1_000);
  let made = 0;
  let read = 0;
  const items = function* () {
    for (; made < 1_000; made += 1) yield item;
  };
  let goOn = () => {};
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('write', items);
    app.handle('read', async (_body, { input }) => {
      await input.next();
      await gate;
      for await (const _ of input) read += 1;
      return read;
    });
    app.handle('ping', () => 'pong');
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const most = 1 + LIMITS.streamWindowBytes / item.length;
  const stuck = async () => {
    for (let before = -1; before !== made; ) {
      before = made;
      // An answer comes after whatever was sent before it.
      for (let i = 0; i < 10; i += 1) await app.call('back', 'ping', null);
    }
  };
  const stream = app.stream('back', 'write', null);
  t.equal(made, 0, 'nothing is made before it is asked for');
  await stream.next();
  await stuck();
  t.ok(made > 100 && made <= most, `${made} made, at most ${most} may be under way`);
  t.equal(1 + (await all(stream)).length, 1_000);
  made = 0;
  const sum = app.call('back', 'read', null, { input: items() });
  await until(() => made > 100);
  await stuck();
  t.ok(made <= most, `${made} made, at most ${most} may be under way`);
  goOn();
  t.equal(await sum, 999);
});

overBoth('either end cancels, and the other stops', async (t, rig) => {
  const seen: string[] = [];
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('endless', async function* (_body, { signal }) {
      try {
        for (let i = 0; ; i += 1) yield i;
      } finally {
        seen.push(`generator ended, signal ${signal.aborted}`);
      }
    });
    app.handle('silent', () => new Readable({ read() {}, destroy: () => void seen.push('readable ended') }));
    app.handle('silent-web', () => new ReadableStream({ cancel: () => void seen.push('web ended') }));
    app.handle('take', async (_body, { input }) => {
      try {
        for await (const _ of input);
      } catch (error) {
        seen.push((error as { code: string }).code);
        throw error;
      }
    });
    app.handle('fail', async function* () {
      yield 1;
      throw new Error('on purpose');
    });
    app.handle('unsendable', function* () {
      yield 'x'.repeat(17 * 1024 * 1024);
    });
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  const come = async (what: string) => {
    await until(() => seen.length > 0);
    t.equal(seen.shift(), what);
  };

  for await (const each of app.stream('back', 'endless', null)) if (each === 1_000) break;
  await come('generator ended, signal true');

  const controller = new AbortController();
  const aborted = (async () => {
    for await (const each of app.stream('back', 'endless', null, { signal: controller.signal })) {
      if (each === 1_000) controller.abort();
    }
  })();
  await t.rejects(aborted, { code: 'SHOAL_E_CANCELLED' });
  await come('generator ended, signal true');

  for (const [handler, what] of [
    ['silent', 'readable ended'],
    ['silent-web', 'web ended'],
  ] as const) {
    await t.rejects(all(app.stream('back', handler, null, { deadlineMs: 50 })), { code: 'SHOAL_E_DEADLINE' });
    await come(what);
  }

  const broken = async function* () {
    yield 1;
    throw new TypeError('the input is broken');
  };
  await t.rejects(app.call('back', 'take', null, { input: broken() }), new TypeError('the input is broken'));
  await come('SHOAL_E_CANCELLED');
  const input = new Readable({ objectMode: true, read() {} });
  await t.rejects(app.call('back', 'take', null, { input, deadlineMs: 50 }), { code: 'SHOAL_E_DEADLINE' });
  t.ok(input.destroyed);
  await come('SHOAL_E_CANCELLED');

  const failing = app.stream('back', 'fail', null);
  t.same(await failing.next(), { done: false, value: 1 }, 'what came before an error is read before it');
  await t.rejects(failing.next(), { code: 'SHOAL_E_HANDLER', message: 'on purpose' });
  t.same(await failing.next(), { done: true, value: undefined });
  await t.rejects(all(app.stream('back', 'unsendable', null)), { code: 'SHOAL_E_FRAME' });
  await t.rejects(app.call('back', 'take', null, { input: ['x'.repeat(17 * 1024 * 1024)] }), { code: 'SHOAL_E_FRAME' });
  await come('SHOAL_E_CANCELLED');
  await t.rejects(all(app.stream('back', 'none', null)), { code: 'SHOAL_E_NO_HANDLER' });
  await t.rejects(all(app.stream('secret', 'none', null)), { code: 'SHOAL_E_NOT_GRANTED' });
  await t.rejects(app.call('back', 'take', null, { input: 'text' as never }), { code: 'SHOAL_E_USAGE' });
});

overBoth('call and stream are not taken for each other', async (t, rig) => {
  await rig.start('back', 'a-back-0', (app) => {
    app.handle('value', () => 7);
    app.handle('stream', () => Readable.from(upTo(3)));
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  await t.rejects(app.call('back', 'stream', null), { code: 'SHOAL_E_NO_STREAM', message: /by `stream`/ });
  await t.rejects(all(app.stream('back', 'value', null)), { code: 'SHOAL_E_NO_STREAM', message: /use `call`/ });
});
