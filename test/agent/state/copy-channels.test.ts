import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import pino from 'pino';
import t, { type Test } from 'tap';
import { Relay } from '../../../agent/relay.js';
import { CopyChannel } from '../../../agent/state/copy-channel.js';
import { CopyChannels } from '../../../agent/state/copy-channels.js';
import { native } from '../../../native/index.js';
import { RingLink } from '../../../native/ring-link.js';
import { LIMITS } from '../../../protocol/limits.js';
import { until } from '../../../scripts/lib/until.js';

const log = pino({ level: 'silent' });

/** Two agents as far as copies go, with a link that is there at once, and relays that are connected by TCP. */
class Pair {
  readonly #agents = new Map<string, Agent>();

  agent(name: string): Agent {
    const found = this.#agents.get(name);
    if (found === undefined) throw new Error(`${name} does not run`);
    return found;
  }

  start(name: string): Agent {
    const agent = new Agent(name, (to) => this.#agents.get(to));
    this.#agents.set(name, agent);
    return agent;
  }

  /** As when the agent is killed: nobody is told. */
  kill(name: string): void {
    this.#agents.get(name)?.stop();
    this.#agents.delete(name);
  }

  connect(): void {
    this.agent('a').relay.connect('b');
    this.agent('b').relay.connect('a');
  }

  stop(): void {
    for (const name of ['a', 'b']) this.kill(name);
  }
}

class Agent {
  readonly relay: Relay;
  readonly copies: CopyChannels;
  received: unknown[] = [];
  /** What its card is said to do. */
  hasRdma = true;
  #next = 1;
  readonly #peer: string;

  constructor(name: string, find: (name: string) => Agent | undefined) {
    this.#peer = name === 'a' ? 'b' : 'a';
    this.relay = new Relay(
      native,
      {
        host: name,
        address: '127.0.0.1',
        streamBytes: LIMITS.copyRingBytes,
        resumeMs: 2_000,
        spinUs: 0,
        retryMs: { tcp: [5, 50], verbs: [50, 500] },
      },
      {
        send: (to, message) => void turn().then(() => find(to)?.relay.receive(name, message)),
        channelEnded: (host, channel) => this.copies.channelEnded(host, channel),
        changed: (host) => this.copies.changed(host),
        forged: () => {},
      },
    );
    this.copies = new CopyChannels({
      native,
      log,
      leads: (host) => name < host,
      // No machine of this test has a card: TCP is what is there, and stands for it.
      carried: (host) => {
        const carried = this.relay.carried(host);
        return this.hasRdma && carried?.carrier === 'tcp' ? { carrier: 'verbs', reason: 'a card' } : carried;
      },
      nextChannel: () => {
        this.#next += 1;
        return this.#next;
      },
      attach: (host, channel, fds, side) => this.relay.attach(host, channel, fds, side),
      detach: (host, channel) => this.relay.detach(host, channel),
      offer: (host, channel) => void turn().then(() => find(host)?.copies.offered(name, channel)),
      message: (_, message) => {
        if (message === 'wrong') throw new Error('is not to be said');
        this.received.push(message);
      },
    });
  }

  get way() {
    return this.copies.way(this.#peer);
  }

  send(message: unknown): boolean {
    return this.copies.send(this.#peer, message);
  }

  untilOpen(): Promise<void> {
    return until(() => this.way.by === 'rdma');
  }

  stop(): void {
    this.copies.close();
    this.relay.stop();
  }
}

async function openPair(t: Test): Promise<{ pair: Pair; a: Agent; b: Agent }> {
  const pair = new Pair();
  t.teardown(() => pair.stop());
  const [a, b] = [pair.start('a'), pair.start('b')];
  pair.connect();
  await Promise.all([a.untilOpen(), b.untilOpen()]);
  return { pair, a, b };
}

const message = (number: number, bytes: number) => ({ number, records: Buffer.alloc(bytes, number) });

/** What can be compared without looking at each byte in turn. */
function brief(messages: readonly unknown[]): string[] {
  return (messages as ReturnType<typeof message>[]).map(
    ({ number, records }) => `${number}: ${records.length} bytes ${createHash('sha1').update(records).digest('hex')}`,
  );
}

/** Bytes of the messages: more than a ring, and not what fills a record. */
const SIZES = [0, 1, 100_000, 262_136, 262_144, 3_000_000];

t.test(
  'messages come whole, each once and in order, in both directions, whatever becomes of what carries them',
  async (t) => {
    const { a, b } = await openPair(t);
    const sent = Array.from({ length: 30 }, (_, number) => message(number, SIZES[number % SIZES.length] ?? 0));
    for (const each of sent) {
      t.ok(a.send(each) && b.send(each), `message ${each.number} is taken`);
      if (each.number % 10 !== 5) continue;
      a.relay.dropCarrier('b');
      // Until it is there again they would go by the link.
      await Promise.all([a.untilOpen(), b.untilOpen()]);
    }
    await until(() => a.received.length >= sent.length && b.received.length >= sent.length);
    t.same(brief(a.received), brief(sent));
    t.same(brief(b.received), brief(sent));
    t.ok((a.relay.state('b')?.stats?.carriers ?? 0) > 1, 'carriers were lost on the way');
    const bytes = sent.reduce((sum, { records }) => sum + records.length, 0);
    t.ok(a.way.rdmaBytes > bytes && a.way.rdmaBytes < 1.01 * bytes, `${a.way.rdmaBytes} bytes for ${bytes}`);
  },
);

t.test('without RDMA nothing is taken, and it is said why; what was taken before comes all the same', async (t) => {
  const { a, b } = await openPair(t);
  const before = message(1, 3_000_000);
  t.ok(a.send(before));
  a.hasRdma = false;
  t.notOk(a.send(message(2, 1)), 'the link has to do it');
  t.match(a.way, { by: 'link', reason: /^this host: / });
  await until(() => b.received.length > 0);
  t.same(brief(b.received), brief([before]));
  a.hasRdma = true;
  t.ok(a.send(message(3, 1)), 'the same channel is used again');
  await until(() => b.received.length > 1);
  t.same(brief(b.received), brief([before, message(3, 1)]));
});

t.test('an agent that is killed: the other one goes by the link, until both have another channel', async (t) => {
  const { pair, a } = await openPair(t);
  t.ok(a.send(message(1, 1)));
  const { rdmaBytes } = a.way;
  pair.kill('b');
  await until(() => a.way.by === 'link');
  t.notOk(a.send(message(2, 1)));
  const again = pair.start('b');
  pair.connect();
  await Promise.all([a.untilOpen(), again.untilOpen()]);
  t.ok(a.send(message(3, 1)));
  await until(() => again.received.length > 0);
  t.same(again.received, [message(3, 1)], 'nothing of what was before');
  t.ok(a.way.rdmaBytes > rdmaBytes, 'what went before counts');
});

t.test('an agent that breaks the protocol loses the channel, and gets another', async (t) => {
  const { a, b } = await openPair(t);
  t.ok(b.send('wrong'));
  await until(() => a.way.by === 'link');
  t.match(a.way.reason, /^RDMA is there, but is not to be said$/);
  await Promise.all([a.untilOpen(), b.untilOpen()]);
  t.ok(b.send(message(1, 1)));
  await until(() => a.received.length > 0);
  t.same(a.received, [message(1, 1)]);
});

for (const [what, records] of [
  ['does not begin with a welcome', [Buffer.of(1)]],
  ['sends an empty record', [Buffer.alloc(0), Buffer.alloc(0)]],
  ['sends what is no message', [Buffer.alloc(0), Buffer.of(0xda, 0xff)]],
] as const) {
  t.test(`the other side ${what}: an error, and the end`, async (t) => {
    const [ours, theirs] = native.createChannel(LIMITS.copyRingBytes);
    const peer = new RingLink(theirs, 1, { onRecord: () => {}, onRoom: () => {}, onClose: () => {} }, 0);
    t.teardown(() => peer.close());
    const ends: unknown[] = [];
    const channel = new CopyChannel(ours, 0, { message: () => {}, closed: (error) => ends.push(error) });
    for (const record of records) t.ok(peer.send(record));
    await until(() => ends.length > 0);
    t.match(ends, [{ code: 'SHOAL_E_FRAME' }]);
    t.notOk(channel.send('more'));
  });
}

t.test('an agent that does not read is cut off before it fills the memory of the other', async (t) => {
  const [ours, theirs] = native.createChannel(LIMITS.copyRingBytes);
  const peer = new RingLink(theirs, 1, { onRecord: () => {}, onRoom: () => {}, onClose: () => {} }, 0);
  t.teardown(() => peer.close());
  const ends: unknown[] = [];
  const channel = new CopyChannel(ours, 0, { message: () => {}, closed: (error) => ends.push(error) });
  peer.send(Buffer.alloc(0));
  await until(() => channel.isOpen);
  peer.pause();
  let taken = 0;
  while (channel.send(message(taken, 1_000_000))) taken += 1;
  t.ok(taken >= 32 && taken <= 34, `${taken} MB wait`);
  t.match(ends, [{ code: 'SHOAL_E_OVERLOADED' }]);
});
