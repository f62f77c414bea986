import { mkdir } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { encodeFrame } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
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
  });
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (const [what, bytes] of FROM_CALLERS) {
    const socket = connect(join(back.folder, 'fabric.sock'));
    socket.write(bytes);
    await hungUp(socket);
    t.equal(await app.call('back', 'run', null), 'fine', what);
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
