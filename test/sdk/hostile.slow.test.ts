import { mkdir } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import type { ShoalError } from '../../protocol/errors.js';
import { encodeBody, encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { until, within } from '../../scripts/lib/until.js';
import { parseToInstance } from '../../sdk/control-parse.js';
import { Rig } from './rig.js';

const call = { type: 'call', id: 1, handler: 'never', deadlineMs: 1_000, body: null };
const tooLong = Buffer.alloc(4);
tooLong.writeUInt32LE(LIMITS.frameBytesMax + 1);

const FROM_CALLERS: [string, Buffer][] = [
  ['no msgpack', Buffer.from([1, 0, 0, 0, 0xc1])],
  ['a frame that announces too much', tooLong],
  ['no map', encodeFrame('call')],
  ['no id', encodeFrame({ type: 'cancel' })],
  ['an unknown type', encodeFrame({ type: 'run', id: 1 })],
  ['no handler', encodeFrame({ ...call, handler: 7 })],
  ['a deadline that is no number', encodeFrame({ ...call, deadlineMs: Number.NaN })],
  ['a deadline without end', encodeFrame({ ...call, deadlineMs: 1e12 })],
  ['a shard that cannot be', encodeFrame({ ...call, shards: [64] })],
  ['shards that are not the key’s', encodeFrame({ ...call, key: 'k', shards: [0, 1] })],
  ['a key that is no text', encodeFrame({ ...call, key: 3 })],
  ['the same id twice', Buffer.concat([encodeFrame(call), encodeFrame(call)])],
];

const HUNG_UP_MS_MAX = 20_000;
const WINDOW = LIMITS.streamWindowBytes;
const streamed = { ...call, handler: 'endless', stream: WINDOW };
const item = (bytes: number) => ({ type: 'item', id: 1, bytes: encodeBody(Buffer.alloc(bytes)) });
const all = (...messages: unknown[]) => Buffer.concat(messages.map(encodeFrame));

/** Of streams. */
const STREAMS_FROM_CALLERS: [string, Buffer][] = [
  ['a stream without credit', all({ ...streamed, stream: 0 })],
  ['a stream with too much credit', all({ ...streamed, stream: 1e12 })],
  ['a credit that is none', all(streamed, { type: 'credit', id: 1, bytes: -1 })],
  ['a credit that is no number', all(streamed, { type: 'credit', id: 1, bytes: '1' })],
  ['a credit without end', all(streamed, { type: 'credit', id: 1, bytes: Number.POSITIVE_INFINITY })],
  ['more credit than a window', all(streamed, { type: 'credit', id: 1, bytes: WINDOW })],
  ['an item before there is credit', all({ ...call, input: true }, item(1))],
  ['an item that is no bytes', all({ ...call, input: true }, { ...item(1), bytes: 'x' })],
];

/** Nothing comes of it, and the caller is served: a call may have ended while they were on their way. */
const STRAY_FROM_CALLERS: [string, Buffer][] = [
  ['an item of a call that is not there', all({ ...item(1), id: 77 })],
  ['a credit of a call that is not there', all({ type: 'credit', id: 77, bytes: 1 })],
  ['an end of a call that is not there', all({ type: 'end', id: 77 })],
  ['an item of a call without input', all(call, item(1))],
  ['a credit of a call without a stream', all(call, { type: 'credit', id: 1, bytes: WINDOW })],
  ['an item after the end', all({ ...call, input: true }, { type: 'end', id: 1 }, item(1))],
];

function hungUp(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
  });
}

t.test('a caller that breaks the protocol is hung up on, and others are served', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const back = await rig.start('back', 'a-back-0', (app) => {
    app.handle('run', () => 'fine');
    app.handle('never', () => new Promise(() => {}));
    app.handle('endless', async function* () {
      yield await new Promise(() => {});
    });
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (const [what, bytes] of [...FROM_CALLERS, ...STREAMS_FROM_CALLERS]) {
    const socket = connect(join(back.folder, 'fabric.sock'));
    socket.write(bytes);
    await hungUp(socket);
    t.equal(await app.call('back', 'run', null), 'fine', what);
  }
});

t.test('what belongs to no stream any more does nothing', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const unread: unknown[] = [];
  const back = await rig.start('back', 'a-back-0', (app) => {
    app.handle('run', () => 'fine');
    app.handle('never', async (_body, { input }) => {
      for await (const each of input) unread.push(each);
      await new Promise(() => {});
    });
  });
  for (const [what, bytes] of STRAY_FROM_CALLERS) {
    const socket = connect(join(back.folder, 'fabric.sock'));
    const reader = new FrameReader();
    const answered = new Promise((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        for (const message of reader.push(chunk)) if ((message as { id: number }).id === 2) resolve(message);
      });
      socket.on('close', () => resolve('hung up'));
    });
    socket.write(Buffer.concat([bytes, encodeFrame({ ...call, id: 2, handler: 'run' })]));
    t.match(await within('the call was answered', HUNG_UP_MS_MAX, answered), { type: 'result', body: 'fine' }, what);
    socket.destroy();
  }
  t.same(unread, []);
});

t.test('a caller may not fill the memory of its callee: a stream with too much unread is refused', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const codes: string[] = [];
  const stopped: number[] = [];
  const back = await rig.start('back', 'a-back-0', (app) => {
    app.handle('run', () => 'fine');
    app.handle('slow', async (_body, { input, signal }) => {
      await input.next();
      await until(() => stopped.length > 0 || signal.aborted);
      await input.next().catch((error: ShoalError) => codes.push(error.code));
    });
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  // Each takes its credit as soon as it comes, by an item far larger than that.
  const large = LIMITS.frameBytesMax - 1_000;
  const streams = Math.ceil(LIMITS.streamsOfCallerHeldBytesMax / large) + 2;
  const socket = connect(join(back.folder, 'fabric.sock'));
  t.teardown(() => socket.destroy());
  const reader = new FrameReader();
  socket.on('data', (chunk: Buffer) => {
    for (const message of reader.push(chunk) as { type: string; id: number }[]) {
      if (message.type === 'stop') stopped.push(message.id);
      // The first is handed to the handler; the second stays.
      if (message.type === 'credit')
        for (const bytes of [1, large]) socket.write(all({ ...item(bytes), id: message.id }));
    }
  });
  for (let id = 1; id <= streams; id += 1)
    socket.write(all({ ...call, deadlineMs: 600_000, id, handler: 'slow', input: true }));
  await until(() => stopped.length > 0);
  t.equal(await app.call('back', 'run', null), 'fine', 'others are served');
  t.ok(stopped.length < streams, `${stopped.length} of ${streams} were told to stop`);
  await until(() => codes.length > 0);
  t.same([...new Set(codes)], ['SHOAL_E_OVERLOADED']);
});

t.test('a callee that breaks the rules of streams fails its calls, and nothing else', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const front = await rig.start('front', 'a-front-0');
  await mkdir(join(rig.folder, 'peers', 'back'), { recursive: true });
  let answer = Buffer.alloc(0);
  let closed = () => {};
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('close', () => closed());
    socket.once('data', () => socket.write(answer));
  });
  await new Promise<void>((resolve) => server.listen(join(rig.folder, 'peers', 'back', 'a-back-0.sock'), resolve));
  t.teardown(() => server.close());
  front.control.sendRoutes(1, { back: { instances: ['a-back-0'] } });
  const input = async function* () {
    yield await new Promise(() => {});
  };
  const credit = (bytes: unknown) => ({ type: 'credit', id: 1, bytes });
  const broken: [string, Buffer][] = [
    ['more credit than a window', all(credit(WINDOW + 1))],
    ['more credit than a window, in two', all(credit(WINDOW), credit(1))],
    ['a credit that is none', all(credit(0))],
    ['an item beyond the credit', all(item(WINDOW), item(WINDOW), item(1))],
    ['an item that is no bytes', all({ ...item(1), bytes: [1] })],
  ];
  // Each breaks a connection, and with it the call: the next call has another, and the next number.
  for (const [i, [what, bytes]] of broken.entries()) {
    const messages = new FrameReader().push(bytes) as object[];
    answer = all(...messages.map((message) => ({ ...message, id: i + 1 })));
    const hung = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const stream = front.app.stream('back', 'run', null, { input: input(), deadlineMs: 10_000 });
    const first = stream.next();
    first.catch(() => undefined);
    await within('the connection was hung up on', HUNG_UP_MS_MAX, hung);
    // What came before is read before that.
    await t.rejects(Promise.all([first, stream.next(), stream.next()]), { code: 'SHOAL_E_PEER_DIED' }, what);
  }
});

t.test('a callee that breaks the protocol fails the calls it had, and nothing else', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const front = await rig.start('front', 'a-front-0');
  await mkdir(join(rig.folder, 'peers', 'back'), { recursive: true });
  const answers = [Buffer.from([1, 0, 0, 0, 0xc1]), encodeFrame({ type: 'result' }), encodeFrame([1]), tooLong];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(answers.shift() ?? encodeFrame({ type: 'error', id: 1, code: 'ENOENT' })));
  });
  await new Promise<void>((resolve) => server.listen(join(rig.folder, 'peers', 'back', 'a-back-0.sock'), resolve));
  t.teardown(() => server.close());
  front.control.sendRoutes(1, { back: { instances: ['a-back-0'] } });
  for (let i = 0; i < 5; i += 1) {
    await t.rejects(front.app.call('back', 'run', i), { code: 'SHOAL_E_PEER_DIED' });
  }
});

t.test('messages of the agent are taken only in their right shape', (t) => {
  const route = { instances: ['a-b-0'] };
  const routes = (value: unknown) => ({ type: 'routes', revision: 1, routes: value });
  const wrong: unknown[] = [
    null,
    [],
    {},
    { type: 'exit' },
    routes(null),
    routes({ b: {} }),
    routes({ '../x': route }),
    routes({ b: { instances: ['../../agent'] } }),
    routes({ b: { instances: ['a/b'] } }),
    routes({ b: { ...route, owners: [] } }),
    routes({ b: { ...route, owners: Array.from({ length: 64 }, () => 1) } }),
    { type: 'shard-own', shard: LIMITS.shardCountMax, epoch: 1, requestId: 1 },
    { type: 'shard-own', shard: 1, requestId: 1 },
    { type: 'shard-prepare', shard: 1, epoch: -1, requestId: 1 },
    { type: 'shard-own', shard: 1 },
    { type: 'shard-install', shard: 1, requestId: 1, entries: [] },
  ];
  for (const value of wrong) t.throws(() => parseToInstance(value), { code: 'SHOAL_E_FRAME' }, JSON.stringify(value));
  t.same(parseToInstance(routes({ b: route })), routes({ b: route }));
  t.end();
});
