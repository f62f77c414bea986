import { rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Control } from '../../agent/control.js';
import { ALL_SHARDS, Rig } from './rig.js';

/** An agent's end on the instance's socket; resolves when the process has said hello, its shards and that it is ready. */
async function newAgent(id: string, folder: string): Promise<Control> {
  let both = () => {};
  const told = new Promise<void>((resolve) => {
    both = resolve;
  });
  const control = new Control(id, {
    waits() {},
    copiesWanted() {},
    hello() {},
    warm() {},
    ready: () => both(),
    stats() {},
    wanted() {},
    flooded() {},
    closed() {},
  });
  await control.listen(folder, process.geteuid?.() ?? 0);
  await told;
  return control;
}

t.test('instances serve while the agent is away and tell the next one all it has to know', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const index = await rig.start('index', 'a-index-0', (app) => {
    app.handle('set', (body, { key = '', state }) => state('s').set(key, body));
    app.handle('get', (_body, { key = '', state }) => state('s').get(key));
  });
  const { app } = await rig.start('front', 'a-front-0');
  await rig.own(index, ALL_SHARDS);
  rig.publish();
  await app.call('index', 'set', 'before', { key: 'k' });
  await index.control.command({ type: 'shard-freeze', shard: 5 });

  for (const { control } of rig.members) control.close();
  t.equal(await app.call('index', 'get', null, { key: 'k' }), 'before');
  await app.call('index', 'set', 'while away', { key: 'k' });

  const again = await newAgent('a-index-0', index.folder);
  t.teardown(() => again.close());
  t.equal(again.shards?.length, 64);
  t.same(again.frozen, [5]);
  await again.command({ type: 'shard-own', shard: 5, epoch: await rig.send(index, 5) });
  t.equal(await app.call('index', 'get', null, { key: 'k' }), 'while away');
  t.same(index.app.stats.frozen, []);
});

t.test('an agent that talks nonsense is left and dialled again', async (t) => {
  const rig = await Rig.make();
  t.teardown(() => rig.close());
  const { id, folder, control } = await rig.start('back', 'a-back-0');
  control.close();
  const path = join(folder, 'agent.sock');
  let nonsense = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write(Buffer.from([2, 0, 0, 0, 0x91, 0x01]));
    nonsense += 1;
    if (nonsense === 2) enough();
  });
  let enough = () => {};
  const twice = new Promise<void>((resolve) => {
    enough = resolve;
  });
  await rm(path, { force: true });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await twice;
  server.close();
  for (const socket of sockets) socket.destroy();
  const again = await newAgent(id, folder);
  t.teardown(() => again.close());
  t.equal(again.connected, true);
});
