import { closeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { native, type PacketHandle } from '../../native/index.js';
import { RingLink } from '../../native/ring-link.js';
import { encodePacket } from '../../protocol/channels.js';
import type { ShoalError } from '../../protocol/errors.js';
import { encodeBody } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { until } from '../../scripts/lib/until.js';
import type { Channel } from '../../sdk/carrier.js';
import { ChannelBroker } from '../../sdk/channel-broker.js';
import { RingCarrier } from '../../sdk/ring-carrier.js';
import { Rig } from './rig.js';

interface Caller {
  link: RingLink;
  /** Lengths of the records that came. */
  records: number[];
  /** Resolves when there is room again. */
  room(): Promise<void>;
  closed: Promise<ShoalError | undefined>;
}

/** An instance that accepts channels, and a hand-made agent that offers it some whose other end is the test's. */
async function startCallee(t: Test, accept: (channel: Channel) => void): Promise<() => Caller> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-ring-'));
  let connected = (_: PacketHandle) => {};
  const agent = new Promise<PacketHandle>((resolve) => {
    connected = resolve;
  });
  const open = (socket: number) =>
    native.openPackets(
      socket,
      () => {},
      () => {},
    );
  const listener = native.listenPackets(join(folder, 'channels'), (socket) => connected(open(socket)));
  const broker = new ChannelBroker(join(folder, 'channels'));
  const carrier = new RingCarrier(broker);
  await carrier.listen(accept);
  const packets = await agent;
  t.teardown(async () => {
    broker.close();
    packets.close();
    listener.close();
    await rm(folder, { recursive: true });
  });
  let channel = 0;
  return () => {
    const [mine, theirs] = native.createChannel(LIMITS.ringBytes);
    const offer = encodePacket({ type: 'offered', channel: channel++, component: 'front', instance: 'a-front-0' });
    packets.send(offer, [theirs.memory, theirs.strike, theirs.listen]);
    return hold(t, (events) => new RingLink(mine, 0, events));
  };
}

function hold(t: Test, open: (events: ConstructorParameters<typeof RingLink>[2]) => RingLink): Caller {
  const records: number[] = [];
  let [close, wake] = [(_: ShoalError | undefined) => {}, () => {}];
  const closed = new Promise<ShoalError | undefined>((resolve) => {
    close = resolve;
  });
  const link = open({
    onRecord: (_bytes, _offset, length) => records.push(length),
    onRoom: () => wake(),
    onClose: (error) => close(error),
  });
  t.teardown(() => link.close());
  const room = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  return { link, records, room, closed };
}

t.test('a peer that breaks the protocol within sound records loses its channel, and nobody else', async (t) => {
  const whys: string[] = [];
  const messages: unknown[] = [];
  const offer = await startCallee(t, (channel) => {
    channel.onMessage = (message) => messages.push(message);
    channel.onClose = (why) => whys.push(why);
  });
  const good = offer();
  await until(() => good.records.length === 1);
  t.equal(good.records[0], 0, 'the welcome');
  const part = Buffer.alloc(good.link.lengthMax);
  for (const [what, records] of [
    ['no msgpack', [[Buffer.from([0x91]), false]]],
    ['an empty record', [[Buffer.alloc(0), false]]],
    ['an empty part', [[Buffer.alloc(0), true]]],
    ['too long', Array.from({ length: 1 + LIMITS.frameBytesMax / part.length }, () => [part, true])],
  ] as [string, [Buffer, boolean][]][]) {
    const bad = offer();
    let ended = false;
    void bad.closed.then(() => {
      ended = true;
    });
    for (const [bytes, more] of records)
      while (!ended && !bad.link.send(bytes, more)) await Promise.race([bad.room(), bad.closed]);
    await bad.closed;
    t.match(whys.pop(), /not msgpack|empty record|more than 16777216 bytes/, what);
  }
  good.link.send(encodeBody('fine'));
  await until(() => messages.length > 0);
  t.same(messages, ['fine']);
});

t.test('a caller that takes no answers is not read from, until it takes them', async (t) => {
  let channel: Channel | undefined;
  let asked = 0;
  const answer = Buffer.alloc(1024 * 1024);
  const offer = await startCallee(t, (accepted) => {
    channel = accepted;
    accepted.onMessage = () => {
      asked += 1;
      accepted.send({ type: 'item', id: 1, bytes: answer });
    };
  });
  const caller = offer();
  await until(() => caller.records.length === 1);
  caller.link.pause();
  for (let i = 0; i < 100; i += 1) t.equal(caller.link.send(encodeBody(i)), true);
  const most = 1 + LIMITS.frameBytesMax / answer.length;
  await until(() => asked === most);
  for (let i = 0; i < 100; i += 1) await new Promise((resolve) => setImmediate(resolve));
  t.equal(asked, most, 'no more answers are made than one largest message holds');
  t.ok((channel?.queuedBytes ?? 0) > LIMITS.frameBytesMax);
  caller.link.resume();
  await until(() => asked === 100);
  await until(() => channel?.queuedBytes === 0);
});

t.test('what was sent before close still comes, and a peer that is gone ends what waits', async (t) => {
  const accepted: Channel[] = [];
  const whys: string[] = [];
  const offer = await startCallee(t, (channel) => {
    accepted.push(channel);
    channel.onMessage = () => {};
    channel.onClose = (why) => whys.push(why);
  });
  const caller = offer();
  await until(() => accepted.length === 1);
  const bytes = 1024 * 1024;
  accepted[0]?.send({ type: 'item', id: 1, bytes: Buffer.alloc(bytes) });
  accepted[0]?.close('done');
  t.equal(await caller.closed, undefined);
  t.ok(caller.records.reduce((sum, length) => sum + length, 0) >= bytes, 'all of it');
  t.same(whys, ['done']);

  const other = offer();
  await until(() => accepted.length === 2);
  other.link.pause();
  accepted[1]?.send({ type: 'item', id: 1, bytes: Buffer.alloc(bytes) });
  accepted[1]?.close('done too');
  other.link.close();
  await until(() => whys.length === 2);
  t.equal(accepted[1]?.queuedBytes, 0);
});

t.test('messages of every size pass, up to the largest', async (t) => {
  const rig = await Rig.make('ring');
  t.teardown(() => rig.close());
  await rig.start('back', 'a-back-0', (app) => app.handle('echo', (body) => body));
  const { app } = await rig.start('front', 'a-front-0');
  rig.publish();
  for (const bytes of [0, 1, 16_000, 16_376, 20_000, 70_000, 1_000_003, LIMITS.frameBytesMax - 1_000]) {
    const body = Buffer.alloc(bytes, bytes % 251);
    const answer = (await app.call('back', 'echo', body)) as Buffer;
    t.equal(Buffer.compare(answer, body), 0, `${bytes}`);
  }
  await t.rejects(app.call('back', 'echo', Buffer.alloc(LIMITS.frameBytesMax)), { code: 'SHOAL_E_FRAME' });
  t.same(rig.carriers(), ['ring']);
});

t.test('without an agent that answers calls go over the Unix socket, and say why', async (t) => {
  const rig = await Rig.make('ring');
  t.teardown(() => rig.close());
  await rig.start('back', 'a-back-0', (app) => app.handle('echo', (body) => body));
  const { app, channels } = await rig.start('front', 'a-front-0');
  rig.publish();
  channels.close();
  t.equal(await app.call('back', 'echo', 'still'), 'still');
  t.match(app.peers()[0]?.instances[0], { carrier: 'unix', why: /the agent/ });
  t.match(app.stats.channels, { back: { ring: 0, unix: 1, whyNoRing: /the agent/ } });
});

t.test(
  'where the runtime forbids buffers over shared memory calls go over the Unix socket, and say what to do',
  async (t) => {
    const rig = await Rig.make('ring');
    t.teardown(() => rig.close());
    const { openChannel } = native;
    t.teardown(() => {
      native.openChannel = openChannel;
    });
    // As native/src/common/external_buffer.h does there: this Node is not such a runtime.
    native.openChannel = (fds) => {
      for (const fd of [fds.memory, fds.strike, fds.listen]) closeSync(fd);
      throw new Error('this JavaScript runtime allows no buffers over shared memory: run the component by Node.js');
    };
    await rig.start('back', 'a-back-0', (app) => app.handle('echo', (body) => body));
    const { app } = await rig.start('front', 'a-front-0');
    rig.publish();
    for (let i = 0; i < 10; i += 1) t.equal(await app.call('back', 'echo', i), i);
    const why = /allows no buffers over shared memory.*Node\.js/;
    t.match(app.peers()[0]?.instances[0], { carrier: 'unix', why });
    t.match(app.stats.channels, { back: { ring: 0, unix: 1, whyNoRing: why } });
  },
);

t.test('many callers are served alike, however much one of them asks', async (t) => {
  const rig = await Rig.make('ring');
  t.teardown(() => rig.close());
  await rig.start('back', 'a-back-0', (app) => app.handle('echo', (body) => body));
  const greedy = await rig.start('front', 'a-front-0');
  const modest = await Promise.all([1, 2, 3, 4].map((i) => rig.start('front', `a-front-${i}`)));
  rig.publish();
  let going = true;
  let greedyDone = 0;
  const load = Array.from({ length: 200 }, async () => {
    for (; going; greedyDone += 1) await greedy.app.call('back', 'echo', null);
  });
  const counts = await Promise.all(
    modest.map(async ({ app }) => {
      const before = greedyDone;
      for (let i = 0; i < 50; i += 1) await app.call('back', 'echo', null);
      return greedyDone - before;
    }),
  );
  going = false;
  await Promise.all(load);
  // It has 200 calls under way: a call of another waits for about as many, and not for those that it makes next.
  for (const count of counts) t.ok(count < 50 * 300, `${count} of the greedy one's calls during 50 of another`);
});
