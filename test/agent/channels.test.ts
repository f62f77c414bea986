import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ChannelSocket } from '../../agent/channel-socket.js';
import { type ChannelParty, Channels } from '../../agent/channels.js';
import { native, type PacketHandle } from '../../native/index.js';
import { type ChannelReply, encodePacket, parseChannelReply } from '../../protocol/channels.js';
import { encodeBody } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { until } from '../../scripts/lib/until.js';

interface Inside {
  party: ChannelParty;
  /** What the process inside was told; descriptors are closed at once. */
  told: ChannelReply[];
  hungUp: string[];
  packets: PacketHandle;
  ended: Promise<unknown>;
  ask(instance: string): void;
}

class Host {
  readonly channels = new Channels(native);
  readonly #members = new Map<string, ChannelParty>();
  private constructor(
    readonly folder: string,
    readonly t: Test,
  ) {}

  static async make(t: Test): Promise<Host> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-channels-'));
    t.teardown(() => rm(folder, { recursive: true }));
    return new Host(folder, t);
  }

  /** An instance, and the process in it as a socket. */
  async start(id: string): Promise<Inside> {
    const hungUp: string[] = [];
    const socket = new ChannelSocket(native, {
      connected() {},
      open: (request) =>
        this.channels.open(party, request, () => {
          const callee = this.#members.get(request.instance);
          if (callee === undefined) throw new Error('no such instance');
          return callee;
        }),
      closed: (channel) => this.channels.closed(party, channel),
      hungUp: (why) => hungUp.push(why),
    });
    const party: ChannelParty = { id, component: 'back', channels: socket };
    this.#members.set(id, party);
    await socket.listen(this.folder, process.geteuid?.() ?? 0);
    const inside = { party, hungUp, ...dial(join(this.folder, 'channels')) };
    while (!socket.connected) await turn();
    this.t.teardown(() => {
      socket.close();
      inside.packets.close();
    });
    return inside;
  }
}

function dial(path: string): Pick<Inside, 'told' | 'packets' | 'ended' | 'ask'> {
  const told: ChannelReply[] = [];
  let end = (_: unknown) => {};
  const ended = new Promise((resolve) => {
    end = resolve;
  });
  const packets = native.openPackets(
    native.dialPackets(path),
    (bytes, fds) => {
      told.push(parseChannelReply(bytes));
      for (const fd of fds) closeSync(fd);
    },
    end,
  );
  const ask = (instance: string) =>
    packets.send(encodePacket({ type: 'open', requestId: 1, component: 'back', instance }), []);
  return { told, packets, ended, ask };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

t.test(
  'a pair gets so many channels, and more when the callee has closed some; the caller’s word counts for nothing',
  async (t) => {
    const host = await Host.make(t);
    const callee = await host.start('a-back-0');
    const caller = await host.start('a-back-1');
    const most = LIMITS.channelsPerPairMax;
    const descriptors = (await readdir('/proc/self/fd')).length;
    for (let i = 0; i <= most; i += 1) caller.ask('a-back-0');
    await until(() => caller.told.length === most + 1 && callee.told.length === most);
    t.same(
      caller.told.map(({ type }) => type),
      [...Array(most).fill('opened'), 'refused'],
    );
    t.match(caller.told.at(-1), {
      code: 'SHOAL_E_OVERLOADED',
      detail: `there are ${most} channels from a-back-1 to a-back-0, which is the most`,
    });
    t.equal((await readdir('/proc/self/fd')).length, descriptors, 'the agent keeps no descriptor');

    const [first] = callee.told;
    const channel = first?.type === 'offered' ? first.channel : -1;
    caller.packets.send(encodePacket({ type: 'closed', channel }), []);
    caller.ask('a-back-0');
    await until(() => caller.told.length === most + 2);
    t.match(caller.told.at(-1), { type: 'refused' });
    callee.packets.send(encodePacket({ type: 'closed', channel }), []);
    await until(() => host.channels.size === most - 1);
    caller.ask('a-back-0');
    await until(() => caller.told.length === most + 3);
    t.match(caller.told.at(-1), { type: 'opened' });

    host.channels.forget('a-back-0');
    t.equal(host.channels.size, 0, 'nothing is noted of a process that has ended');
  },
);

t.test('an instance gets so many channels in all', async (t) => {
  const host = await Host.make(t);
  const busy = await host.start('a-back-0');
  const callers = Math.ceil(LIMITS.channelsPerInstanceMax / LIMITS.channelsPerPairMax);
  for (let i = 1; i <= callers + 1; i += 1) {
    const caller = await host.start(`a-back-${i}`);
    const rounds = i <= callers ? LIMITS.channelsPerPairMax : 1;
    for (let round = 0; round < rounds; round += 1) caller.ask('a-back-0');
    await until(() => caller.told.length === rounds);
    const types = new Set(caller.told.map(({ type }) => type));
    t.same([...types], [i <= callers ? 'opened' : 'refused']);
    if (i > callers) t.match(caller.told[0], { detail: /1024 channels to a-back-0/ });
  }
  t.equal(busy.hungUp.length, 0);
});

t.test('who breaks the protocol, sends descriptors or asks too fast is hung up on', async (t) => {
  const host = await Host.make(t);
  await host.start('a-back-0');
  for (const [what, bytes, fds] of [
    ['no msgpack', Buffer.from([0xc1]), 0],
    ['no map', encodeBody([1]), 0],
    ['an unknown type', encodeBody({ type: 'opened', requestId: 1 }), 0],
    ['no name', encodeBody({ type: 'open', requestId: 1, component: '../x', instance: 'a-back-0' }), 0],
    ['a descriptor', encodePacket({ type: 'closed', channel: 1 }), 1],
  ] as const) {
    const inside = await host.start('a-back-1');
    inside.packets.send(
      bytes,
      Array.from({ length: fds }, () => openSync('/dev/null', 'r')),
    );
    await inside.ended;
    t.equal(inside.hungUp.length, 1, what);
  }
  const flood = await host.start('a-back-2');
  let open = true;
  void flood.ended.then(() => {
    open = false;
  });
  for (let _i = 0; open; _i += 1) {
    try {
      flood.packets.send(encodePacket({ type: 'closed', channel: 1 }), []);
    } catch (error) {
      if (!['EPIPE', 'EAGAIN'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await turn();
    }
  }
  t.match(flood.hungUp[0], /more than 200 channels each second/);
});
