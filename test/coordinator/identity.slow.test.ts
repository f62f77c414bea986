import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { pino } from 'pino';
import t from 'tap';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { encodeFrame } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { LINK_VERSION } from '../../protocol/link.js';
import { freePorts } from '../../scripts/lib/cluster/etcd.js';
import { until, within } from '../../scripts/lib/until.js';
import { idleAgent } from '../agent/idle-agent.js';
import { runCli } from '../cli/run-cli.js';
import { CoordinatorRig } from './rig.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
const SILENCE_MS = 1_500;

const folder = await mkdtemp(join(tmpdir(), 'shoal-identity-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);
const cert = async (...words: string[]) => {
  const made = await runCli(['cert', ...words, '--authority', at('ca')]);
  if (made.code !== 0) throw new Error(made.err);
};
await runCli(['init', '--authority', at('ca'), '--cluster', 'test']);
await cert('coordinator', 'c1', '--out', at('c1'));
await cert('agent', 'h1', '--out', at('h1'));
await cert('agent', 'h2', '--out', at('h2'));
await cp(at('h1'), at('expired'), { recursive: true });
await makeExpired(at('ca'), at('expired'));
const stranger = new Authority(at('stranger'));
await stranger.init('other');
await stranger.issue('agent', 'h1', 1, at('forged'));

const rig = await CoordinatorRig.make();
const [port = 0] = await freePorts(1);
const log: string[] = [];
const server = await startLinkServer({
  socket: at('c.sock'),
  network: { host: '127.0.0.1', port },
  identity: new Identity(at('c1')),
  silenceMsMax: SILENCE_MS,
  log: pino({ level: 'info' }, { write: (line: string) => log.push(line) }),
});
server.follow(rig.coordinator);
t.teardown(async () => {
  await server.close();
  await rig.close();
});

/** Replaces the certificate of h1 by one of the same authority and key that was valid until yesterday. */
async function makeExpired(ca: string, identity: string): Promise<void> {
  const openssl = (...words: string[]) => promisify(execFile)('openssl', words, { timeout: 30_000 });
  const [request, key] = [join(identity, 'csr'), join(identity, 'own.key')];
  await openssl('req', '-new', '-key', key, '-subj', '/O=shoal-agent/CN=h1', '-out', request);
  const signer = ['-CA', join(ca, 'ca.crt'), '-CAkey', join(ca, 'ca.key'), '-set_serial', '7'];
  const words = ['-req', '-in', request, ...signer, '-days', '-1', '-out', join(identity, 'own.crt')];
  await openssl('x509', ...words);
}

/** Resolves with what was received until the connection ended. */
function ended(socket: TLSSocket | ReturnType<typeof connectTcp>): Promise<number> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve(bytes)));
}

const hello = (name: string) => ({ type: 'hello', version: LINK_VERSION, host: { ...HOST, name }, revision: 0 });
const dial = (identity: string, more: object = {}) =>
  connect({
    host: '127.0.0.1',
    port,
    ...new Identity(at(identity)).credentials(),
    checkServerIdentity: () => undefined,
    ...more,
  });
const connected = (name: string) => rig.coordinator.observed.hosts.get(name)?.connected === true;

async function agent(identity: string, name = 'h1') {
  const fence = new Fence(0, async () => undefined);
  const link = new Link({
    coordinators: [`127.0.0.1:${port}`],
    host: { ...HOST, name },
    agent: idleAgent(),
    fence,
    identity: new Identity(at(identity)),
    log: pino({ level: 'silent' }),
  });
  link.start();
  return link;
}

t.test(
  'an agent with its certificate is taken; every other one is refused, with a line in the log, and disturbs nobody',
  async (t) => {
    const good = await agent('h1');
    t.teardown(() => good.close());
    await until(() => connected('h1'));

    const refused: [string, () => TLSSocket | ReturnType<typeof connectTcp>, RegExp][] = [
      ['without a certificate', () => dial('h1', { cert: undefined, key: undefined }), /refused/],
      ['of another authority', () => dial('forged', { ca: undefined, rejectUnauthorized: false }), /refused/],
      ['expired', () => dial('expired'), /CERT_HAS_EXPIRED/],
      ['of a coordinator', () => dial('c1'), /not that of an agent/],
      ['with TLS 1.2', () => dial('h1', { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }), /refused/],
      [
        'in the clear',
        () => {
          const socket = connectTcp(port, '127.0.0.1');
          socket.write(encodeFrame(hello('h1')));
          return socket;
        },
        /refused/,
      ],
      [
        'for another host',
        () => {
          const socket = dial('h2');
          socket.write(encodeFrame(hello('h1')));
          return socket;
        },
        /certificate of h2 does not speak for h1/,
      ],
      [
        'a frame that is too long',
        () => {
          const socket = dial('h2');
          const length = Buffer.alloc(4);
          length.writeUInt32LE(LIMITS.frameBytesMax + 1);
          socket.write(length);
          return socket;
        },
        /limit/,
      ],
      [
        'garbage',
        () => {
          const socket = dial('h2');
          socket.write(Buffer.from([3, 0, 0, 0, 0xc1, 0xff, 0x92]));
          return socket;
        },
        /not msgpack|refused/,
      ],
      [
        'a hello byte by byte, never ended',
        () => {
          const socket = dial('h2');
          const frame = encodeFrame(hello('h2'));
          let sent = 0;
          const timer = setInterval(() => {
            if (sent < frame.length - 1) socket.write(frame.subarray(sent, sent + 1));
            sent += 1;
          }, 100);
          socket.once('close', () => clearInterval(timer));
          return socket;
        },
        /nothing heard/,
      ],
    ];
    for (const [name, make, why] of refused) {
      log.length = 0;
      await ended(make());
      await until(() => log.some((line) => why.test(line)));
      t.pass(name);
    }
    t.ok(connected('h1'), 'the good one was never disturbed');
    t.notOk(connected('h2'));
  },
);

t.test('an agent obeys only coordinators', async (t) => {
  // An agent's certificate is signed by the same authority, and still does not lead.
  const [other = 0] = await freePorts(1);
  await cp(at('h2'), at('impostor'), { recursive: true });
  const impostor = await startLinkServer({
    socket: at('i.sock'),
    network: { host: '127.0.0.1', port: other },
    identity: new Identity(at('impostor')),
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => impostor.close());
  let heard = 0;
  const socket = connect({ host: '127.0.0.1', port: other, ...new Identity(at('h1')).credentials() });
  socket.on('secureConnect', () => {
    heard += 1;
  });
  await ended(socket);
  t.equal(heard, 0);
});

t.test('a certificate is renewed without a restart, and a revoked one is of no use at once', async (t) => {
  await cert('agent', 'h3', '--out', at('h3'));
  const link = await agent('h3', 'h3');
  t.teardown(() => link.close());
  await until(() => connected('h3'));
  const before = await readFile(at('c1', 'own.crt'), 'utf8');
  await cert('coordinator', 'c1', '--out', at('c1'));
  const shown = async () => {
    const socket = dial('h2');
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const { raw } = socket.getPeerCertificate();
    socket.destroy();
    return raw.toString('base64');
  };
  const old = before.replace(/-----[A-Z ]+-----|\n/g, '');
  while ((await shown()) === old) await new Promise((resolve) => setTimeout(resolve, 100));
  t.ok(connected('h3'), 'those that are connected stay');

  const revoked = await runCli(['cert', 'revoke', at('h3', 'own.crt'), '--authority', at('ca'), '--offline']);
  t.match(revoked, { code: 0, out: /is revoked/ });
  await writeFile(at('c1', 'revoked'), await readFile(at('ca', 'revoked')));
  await until(() => !connected('h3'));
  log.length = 0;
  await until(() => log.some((line) => /its certificate is revoked/.test(line)));
  t.notOk(connected('h3'));
  await cert('agent', 'h3', '--out', at('h3'));
  await until(() => connected('h3'));
  t.pass('with a new certificate it is back');
});

t.test('an authority is made once, and makes nothing that cannot be meant', async (t) => {
  const authority = ['--authority', at('ca')];
  t.match(await runCli(['init', ...authority]), { code: 4, err: /already holds/ });
  t.match(await runCli(['cert', 'agent', '../x', ...authority]), { code: 2, err: /is no name/ });
  t.match(await runCli(['cert', 'agent', 'x', '--days', '0', ...authority]), { code: 2, err: /1 to 825 days/ });
  t.match(await runCli(['cert', 'agent', 'x', '--authority', at('none')]), { code: 3, err: /shoal init/ });
  t.match(await runCli(['cert', 'revoke', at('none'), ...authority]), { code: 2, err: /no such file/ });
});

t.test('a server that closes waits for no handshake', async (t) => {
  const [second = 0] = await freePorts(1);
  const closing = await startLinkServer({
    socket: at('closing.sock'),
    network: { host: '127.0.0.1', port: second },
    identity: new Identity(at('c1')),
    log: pino({ level: 'silent' }),
  });
  const silent = [connectTcp(second, '127.0.0.1'), connectTcp(at('closing.sock'))];
  t.teardown(() => silent.forEach((socket) => void socket.destroy()));
  const over = silent.map(ended);
  await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
  await within('the server to close', 4_000, closing.close());
  t.equal((await within('connections to end', 4_000, Promise.all(over))).length, 2);
});
