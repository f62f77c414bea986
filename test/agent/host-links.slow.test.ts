import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { dialHost } from '../../agent/dial-host.js';
import { HostLinks, type HostLinksOptions } from '../../agent/host-links.js';
import { assertHostAddress } from '../../agent/host-listener.js';
import { type HostMessage, parseHostMessage } from '../../agent/host-messages.js';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { until } from '../../scripts/lib/until.js';

/** Answers with what the digest is of: these tests are not about blobs. */
const giveBlob: HostLinksOptions['giveBlob'] = (socket, digest, from) => socket.end(`${digest} for ${from}`);

interface End {
  links: HostLinks;
  heard: [string, HostMessage][];
  up: string[];
  silent: string[];
}

async function start(t: Test, host: string, identity: Identity | null = null): Promise<End> {
  const [heard, up, silent]: [End['heard'], string[], string[]] = [[], [], []];
  const log = pino({ level: 'silent' });
  const links = new HostLinks(
    { host, address: '127.0.0.1', port: 0, identity, log, giveBlob },
    {
      up: (other) => up.push(other),
      message: (other, message) => heard.push([other, message]),
      silent: (other) => silent.push(other),
    },
  );
  await links.open();
  t.teardown(() => links.close());
  return { links, heard, up, silent };
}

t.test('two agents have one connection, which is made again when it breaks', async (t) => {
  const [a, b] = [await start(t, 'a'), await start(t, 'b')];
  b.links.want(new Map([['a', null]]));
  a.links.want(new Map([['b', b.links.address]]));
  await until(() => a.up.length === 1 && b.up.length === 1);
  a.links.send('b', { type: 'channel-opened', channel: 7 });
  b.links.send('a', { type: 'channel-opened', channel: 8 });
  await until(() => a.heard.length === 1 && b.heard.length === 1);
  t.same(b.heard, [['a', { type: 'channel-opened', channel: 7 }]]);
  b.links.end('a', 'a test');
  await until(() => a.up.length === 2 && b.up.length === 2);
  b.links.close();
  await until(() => a.links.problem('b') !== null);
  t.match(a.links.problem('b'), /the agent stops|ECONNREFUSED|closed/);
  await until(() => a.silent.length === 1);
  t.same(a.silent, ['b'], 'after a while it is thought dead');
});

t.test('nobody is talked to but who the coordinator has told of', async (t) => {
  const a = await start(t, 'b');
  a.links.want(new Map([['a', null]]));
  const port = Number(a.links.address.split(':')[1]);
  for (const first of [
    { type: 'hello', version: 1, host: 'c' },
    { type: 'hello', version: 9, host: 'a' },
    { type: 'alive' },
    { type: 'anything' },
  ]) {
    const socket = connect(port, '127.0.0.1');
    const reader = new FrameReader();
    const said: unknown[] = [];
    let closed = false;
    socket.on('data', (chunk: Buffer) => said.push(...reader.push(chunk)));
    socket.on('close', () => {
      closed = true;
    });
    socket.write(encodeFrame(first));
    await until(() => closed);
    t.match(said, [{ type: 'goodbye' }], JSON.stringify(first));
  }
  t.same(a.up, []);
});

t.test('by certificates each agent speaks for its own host alone, to who it is told of', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-host-links-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const authority = new Authority(join(folder, 'ca'));
  await authority.init('c');
  const identityOf = async (role: 'agent' | 'coordinator', name: string): Promise<Identity> => {
    const out = join(folder, `${role}-${name}`);
    await authority.issue(role, name, 1, out);
    return new Identity(out);
  };
  const [own, stolen, theirs, coordinator] = await Promise.all([
    identityOf('agent', 'a'),
    identityOf('agent', 'c'),
    identityOf('agent', 'b'),
    identityOf('coordinator', 'b'),
  ]);
  const b = await start(t, 'b', theirs);
  b.links.want(new Map([['a', null]]));
  // The key of host c, by which somebody says that he is a; and none at all.
  for (const wrong of [stolen, coordinator, null]) {
    const posing = await start(t, 'a', wrong);
    posing.links.want(new Map([['b', b.links.address]]));
    await until(() => !/not connected|not known yet/.test(posing.links.problem('b') ?? ''));
    t.same([posing.up, b.up], [[], []]);
    posing.links.close();
  }
  // Who listens with another host's key is not talked to either.
  const trap = await start(t, 'b', stolen);
  trap.links.want(new Map([['a', null]]));
  const a = await start(t, 'a', own);
  a.links.want(new Map([['b', trap.links.address]]));
  await until(() => /certificate/.test(a.links.problem('b') ?? ''));
  t.same(trap.up, []);
  a.links.want(new Map([['b', b.links.address]]));
  await until(() => a.up.length === 1 && b.up.length === 1);
  // A blob any host of the cluster may ask for, and nobody else.
  const digest = `sha256:${'0'.repeat(64)}`;
  const ask = async (identity: Identity): Promise<string> => {
    const socket = dialHost(b.links.address, 'b', identity);
    socket.write(encodeFrame({ type: 'blob-wanted', digest }));
    const said: Buffer[] = [];
    for await (const chunk of socket) said.push(chunk as Buffer);
    return Buffer.concat(said).toString();
  };
  t.equal(await ask(stolen), `${digest} for c`);
  t.equal(await ask(coordinator).catch(() => ''), '');
});

t.test('an address that others cannot be told, or that is open to a network, is refused', async (t) => {
  for (const address of ['0.0.0.0', '::', 'host.example']) {
    t.throws(() => assertHostAddress(address, { identified: true, plain: true }), { code: 'SHOAL_E_USAGE' });
  }
  const open = { identified: false, plain: false };
  t.throws(() => assertHostAddress('10.0.0.1', open), { code: 'SHOAL_E_USAGE', message: /--identity/ });
  t.doesNotThrow(() => assertHostAddress('10.0.0.1', { ...open, identified: true }));
  t.doesNotThrow(() => assertHostAddress('10.0.0.1', { ...open, plain: true }));
  t.doesNotThrow(() => assertHostAddress('127.0.0.1', open));
});

t.test('only what is a message is taken from another agent', async (t) => {
  const served = { id: 'a-b-0', weight: 1, shards: [1], frozen: [], serving: true };
  const good: HostMessage[] = [
    { type: 'hello', version: 1, host: 'h' },
    { type: 'goodbye', why: 'no' },
    { type: 'serves', instances: [served] },
    { type: 'channel-open', channel: 1, caller: 'a-b-0', callee: 'a-c-0' },
    { type: 'channel-opened', channel: 1 },
    { type: 'channel-refused', channel: 1, code: 'SHOAL_E_OVERLOADED', detail: 'no' },
  ];
  const isRefused = (value: unknown) => t.throws(() => parseHostMessage(value), { code: 'SHOAL_E_FRAME' });
  for (const message of good) {
    t.strictSame(parseHostMessage(message), message);
    for (const field of Object.keys(message)) isRefused({ ...message, [field]: undefined });
    for (const field of Object.keys(message)) isRefused({ ...message, [field]: Symbol.iterator });
  }
  for (const field of Object.keys(served))
    isRefused({ type: 'serves', instances: [{ ...served, [field]: undefined }] });
  for (const wrong of [null, [], 'hello', 7, { ...good[3], channel: 2 ** 32 }]) isRefused(wrong);
});
