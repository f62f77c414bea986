import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { chooseCarrier } from '../../agent/choose-carrier.js';
import { Relay, rdmaAbility } from '../../agent/relay.js';
import { parseRelayMessage, type RelayMessage } from '../../agent/relay-messages.js';
import { type NativeHost, native } from '../../native/index.js';
import { until } from '../../scripts/lib/until.js';
import { NumberedEnd } from './numbered-end.js';

const RING_BYTES = 16 * 1024;

interface Host {
  relay: Relay;
  ended: { channel: number; reason: string }[];
  /** What was said of forgeries. */
  forged: string[];
}

/** Hosts whose agents have a link, by which messages go as text and in order. */
class Hosts {
  readonly #hosts = new Map<string, Host>();
  /** What an agent has sent, for those who look for a message. */
  readonly messages: RelayMessage[] = [];

  /** By what the relays' connections go, if not directly. */
  network: Network | undefined;

  start(name: string, plain = false, machine: NativeHost = native): Host {
    const ended: Host['ended'] = [];
    const forged: string[] = [];
    const relay = new Relay(
      machine,
      {
        host: name,
        address: '127.0.0.1',
        plain,
        streamBytes: 64 * 1024,
        resumeMs: 500,
        spinUs: 0,
        retryMs: { tcp: [5, 50], verbs: [50, 500] },
      },
      {
        send: (to, message) => void this.#deliver(name, to, message),
        channelEnded: (_, channel, reason) => ended.push({ channel, reason }),
        changed: () => {},
        forged: (_, detail) => forged.push(detail),
      },
    );
    const host = { relay, ended, forged };
    this.#hosts.set(name, host);
    return host;
  }

  async #deliver(from: string, to: string, message: RelayMessage): Promise<void> {
    this.messages.push(message);
    const text = JSON.stringify((await this.network?.lead(message)) ?? message);
    await turn();
    this.#hosts.get(to)?.relay.receive(from, JSON.parse(text));
  }

  /** Stops it as a killed agent is: nobody is told. */
  kill(name: string): void {
    const host = this.#hosts.get(name);
    this.#hosts.delete(name);
    host?.relay.stop();
  }

  stop(): void {
    for (const name of [...this.#hosts.keys()]) this.kill(name);
  }
}

/** A network that looks at what it carries, and may change it. */
class Network {
  /** All that was carried, in both directions. */
  carried: Buffer[] = [];
  /** Is given what comes, of either direction, and may change it in place. */
  harm: (bytes: Buffer) => void = () => {};
  readonly #servers: Server[] = [];

  /** Where the message says to dial, the network answers. */
  async lead(message: RelayMessage): Promise<RelayMessage> {
    if (message.type !== 'relay-answer') return message;
    const server = createServer((from) => {
      const to = dial({ host: message.address, port: message.port });
      for (const [one, other] of [
        [from, to],
        [to, from],
      ] as const) {
        one.on('data', (bytes: Buffer) => {
          this.harm(bytes);
          this.carried.push(bytes);
          other.write(bytes);
        });
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    });
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { ...message, port: (server.address() as AddressInfo).port };
  }

  stop(): void {
    for (const server of this.#servers) server.close();
  }
}

/** One side for the instance, the other for the relay. */
function attach(host: Host, to: string, channel: number): NumberedEnd {
  const [instance, relay] = native.createChannel(RING_BYTES);
  host.relay.attach(to, channel, relay, 1);
  return new NumberedEnd(instance, 0);
}

async function connected(...pairs: [Host, string][]): Promise<void> {
  for (const [host, peer] of pairs) {
    host.relay.connect(peer);
    await until(() => host.relay.state(peer)?.carrier === 'tcp');
  }
}

t.test('channels between hosts go on through lost carriers, whichever side leads', async (t) => {
  const hosts = new Hosts();
  t.teardown(() => hosts.stop());
  const a = hosts.start('a');
  const b = hosts.start('b');
  // The one that does not lead asks.
  await connected([b, 'a'], [a, 'b']);
  t.match(a.relay.state('b'), { carrier: 'tcp', reason: /^this host: / });
  const ends = [1, 2, 3].map((channel) => [attach(a, 'b', channel), attach(b, 'a', channel)] as const);
  const COUNT = 3_000;
  const lose = async () => {
    for (const victim of [a, b, a, b]) {
      await turn();
      const peer = victim === a ? 'b' : 'a';
      victim.relay.dropCarrier(peer);
      await until(() => a.relay.state('b')?.carrier === 'tcp' && b.relay.state('a')?.carrier === 'tcp');
    }
  };
  for (const pair of ends) for (const end of pair) end.send(COUNT);
  await Promise.all([lose(), ...ends.flat().map((end) => end.until(({ received }) => received === COUNT))]);
  const stats = a.relay.state('b')?.stats;
  t.equal(stats?.recordsIn, 3 * COUNT);
  t.ok((stats?.carriers ?? 0) > 1, `${stats?.carriers} carriers`);
  t.same([a.ended, b.ended], [[], []]);
  for (const end of ends.flat()) end.close();
});

/** Has no descriptors left for the first connections that are asked for. */
function shortOf(times: number): NativeHost {
  return {
    ...native,
    startRelay: (...given) => {
      const handle = native.startRelay(...given);
      const open = handle.open.bind(handle);
      handle.open = () => {
        times -= 1;
        if (times >= 0) throw new Error('EMFILE');
        return open();
      };
      return handle;
    },
  };
}

t.test('a host that is short of descriptors for a while is connected after that, whichever side it is', async (t) => {
  const hosts = new Hosts();
  t.teardown(() => hosts.stop());
  const a = hosts.start('a', false, shortOf(2));
  const b = hosts.start('b', false, shortOf(2));
  await connected([b, 'a'], [a, 'b']);
  const [first, second] = [attach(a, 'b', 1), attach(b, 'a', 1)];
  for (const end of [first, second]) end.send(100);
  for (const end of [first, second]) await end.until(({ received }) => received === 100);
  t.same([a.ended, b.ended], [[], []]);
  for (const end of [first, second]) end.close();
});

/** Two hosts over a network that looks. */
async function watchedHosts(t: Test, plainA: boolean, plainB: boolean) {
  const hosts = new Hosts();
  const network = new Network();
  hosts.network = network;
  t.teardown(() => {
    hosts.stop();
    network.stop();
  });
  const a = hosts.start('a', plainA);
  const b = hosts.start('b', plainB);
  await connected([a, 'b'], [b, 'a']);
  return { a, b, network };
}

t.test('records are encrypted between hosts unless both need it not', async (t) => {
  const COUNT = 50;
  for (const [plainA, plainB] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ] as const) {
    const { a, b, network } = await watchedHosts(t, plainA, plainB);
    const encrypted = !(plainA && plainB);
    t.equal(a.relay.state('b')?.encrypted, encrypted);
    t.equal(b.relay.state('a')?.encrypted, encrypted);
    const [first, second] = [attach(a, 'b', 1), attach(b, 'a', 1)];
    for (const end of [first, second]) end.send(COUNT);
    for (const end of [first, second]) await end.until(({ received }) => received === COUNT);
    // Of record 1, whose bytes are all the same.
    const secret = Buffer.alloc(64, 1);
    t.equal(Buffer.concat(network.carried).includes(secret), !encrypted);
    for (const end of [first, second]) end.close();
  }
});

t.test('what a network changes is refused and said, and no record is lost', async (t) => {
  const { a, b, network } = await watchedHosts(t, false, false);
  const COUNT = 2_000;
  const [first, second] = [attach(a, 'b', 1), attach(b, 'a', 1)];
  let seen = 0;
  network.harm = (bytes) => {
    seen += bytes.length;
    if (seen < 3_000) return;
    seen = 0;
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  };
  for (const end of [first, second]) end.send(COUNT);
  await until(() => a.forged.length + b.forged.length >= 3);
  network.harm = () => {};
  for (const end of [first, second]) await end.until(({ received }) => received === COUNT);
  t.same([a.ended, b.ended], [[], []]);
  for (const end of [first, second]) end.close();
});

t.test('an instance that ends, and a channel that its agent ends, are ends at the other host', async (t) => {
  const hosts = new Hosts();
  t.teardown(() => hosts.stop());
  const a = hosts.start('a');
  const b = hosts.start('b');
  await connected([a, 'b'], [b, 'a']);
  const [first, second] = [attach(a, 'b', 1), attach(b, 'a', 1)];
  first.send(5);
  await second.until(({ received }) => received === 5);
  first.close();
  await second.until(({ closed }) => closed !== undefined);
  await until(() => a.ended.length === 1 && b.ended.length === 1);
  t.same([a.ended, b.ended], [[{ channel: 1, reason: 'ended' }], [{ channel: 1, reason: 'ended' }]]);

  const [third, fourth] = [attach(a, 'b', 2), attach(b, 'a', 2)];
  a.relay.detach('b', 2);
  await Promise.all([third, fourth].map((end) => end.until(({ closed }) => closed !== undefined)));
  await until(() => b.ended.length === 2);
  t.same(b.ended[1], { channel: 2, reason: 'detached' });
});

t.test('an agent that begins anew ends the channels of before, and is connected again', async (t) => {
  for (const killed of ['a', 'b']) {
    const hosts = new Hosts();
    t.teardown(() => hosts.stop());
    const a = hosts.start('a');
    const b = hosts.start('b');
    await connected([a, 'b'], [b, 'a']);
    const ends = [attach(a, 'b', 1), attach(b, 'a', 1)] as const;
    ends[0].send(3);
    await ends[1].until(({ received }) => received === 3);
    hosts.kill(killed);
    const again = hosts.start(killed);
    const [survivor, peer] = killed === 'a' ? [b, 'b'] : [a, 'a'];
    await Promise.all(ends.map((end) => end.until(({ closed }) => closed !== undefined)));
    await until(() => survivor.ended.length > 0);
    t.match(survivor.ended, [{ channel: 1, reason: /^(closed|unreachable)$/ }], `${killed} was killed`);
    await connected([again, peer], [survivor, killed]);
    const next = [attach(again, peer, 1), attach(survivor, killed, 1)] as const;
    next[0].send(3);
    await next[1].until(({ received }) => received === 3);
  }
});

t.test('verbs where both hosts have them over one family, else TCP, with the reason', async (t) => {
  const can = (address: string) => ({ address, reason: `rxe0 on ${address}` });
  const cannot = { address: null, reason: 'no RDMA device' };
  t.equal(chooseCarrier(can('10.0.0.1'), can('10.0.0.2'), null).carrier, 'verbs');
  t.same(chooseCarrier(cannot, can('10.0.0.2'), null), { carrier: 'tcp', reason: 'this host: no RDMA device' });
  t.same(chooseCarrier(can('10.0.0.1'), cannot, null), { carrier: 'tcp', reason: 'the other host: no RDMA device' });
  t.match(chooseCarrier(can('10.0.0.1'), can('fd00::2'), null), { carrier: 'tcp', reason: /families/ });
  t.match(chooseCarrier(can('10.0.0.1'), can('10.0.0.2'), 'port down'), {
    carrier: 'tcp',
    reason: /again later: port down/,
  });
});

t.test('what a host has of RDMA is found by its address, and what lacks is said', async (t) => {
  const port = { device: 'rxe0', port: 1, gid: '::ffff:10.0.0.1', interface: 'eth0', active: true, state: '4: ACTIVE' };
  const probe = (ports: (typeof port)[], problem: string | null = null) =>
    rdmaAbility({ ...native, probeRdma: () => ({ ports, problem }) }, '10.0.0.1');
  t.same(probe([port]), { address: '10.0.0.1', reason: 'rxe0 port 1 on eth0' });
  t.same(probe([]), { address: null, reason: 'no RDMA device' });
  t.same(probe([{ ...port, gid: '::ffff:10.0.0.9' }]).reason, 'rxe0 has no RoCE v2 GID for 10.0.0.1');
  t.same(probe([{ ...port, active: false, state: '1: DOWN' }]).reason, 'rxe0 port 1 on eth0 is not active (1: DOWN)');
  t.same(probe([port], 'libibverbs is not installed'), { address: null, reason: 'libibverbs is not installed' });
});

t.test('only what is a message is taken from another agent', async (t) => {
  const session = '0'.repeat(32);
  const verbs = {
    gid: '::ffff:10.0.0.1',
    qpNumber: 17,
    psn: 1,
    mtu: 3,
    remoteKey: 4_000_000_000,
    address: '18446744073709551615',
    streamBytes: 65_536,
  };
  const rdma = { address: null, reason: 'none' };
  const token = 'ab'.repeat(32);
  const answer = { session, attempt: 1, rdma, address: '::1', port: 1, show: token, shown: token };
  const good: RelayMessage[] = [
    { type: 'relay-wanted', lost: true },
    { type: 'relay-rdma', rdma },
    { type: 'relay-ask', session, attempt: 1, resumes: false, plain: false, rdma },
    { type: 'relay-answer', ...answer, secrets: null },
    { type: 'relay-answer', ...answer, secrets: { leaders: token, others: token } },
    { type: 'relay-verbs', session, attempt: 1, verbs },
    { type: 'relay-refused', session, attempt: 1, unknown: false, detail: 'no' },
  ];
  for (const message of good) t.strictSame(parseRelayMessage(message), message);
  // Each field, when it is not what it should be.
  const isRefused = (value: unknown) => t.throws(() => parseRelayMessage(value), { code: 'SHOAL_E_FRAME' });
  for (const message of good) {
    for (const field of Object.keys(message)) isRefused({ ...message, [field]: Symbol.iterator });
    for (const field of Object.keys(message)) isRefused({ ...message, [field]: undefined });
  }
  for (const field of Object.keys(verbs)) isRefused({ ...good[5], verbs: { ...verbs, [field]: -1 } });
  isRefused({ ...good[5], verbs: { ...verbs, address: '18446744073709551616' } });
  isRefused({ ...good[3], address: 'localhost' });
  isRefused({ ...good[3], port: 65_536 });
  isRefused({ ...good[3], secrets: { leaders: token, others: token.slice(2) } });
  isRefused({ type: 'relay-else', session, attempt: 1 });
  fc.assert(
    fc.property(fc.anything(), (value) => {
      try {
        parseRelayMessage(value);
      } catch (error) {
        t.match(error, { code: 'SHOAL_E_FRAME' });
      }
    }),
    { numRuns: 200 },
  );
});
