import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { native, type PacketHandle } from '../../native/index.js';
import { until } from '../../scripts/lib/until.js';

const ADDON = new URL('../../native/index.js', import.meta.url).href;
const RING_BYTES = 4096;

async function descriptors(): Promise<number> {
  return (await readdir('/proc/self/fd')).length;
}

/** libuv lets go of a closed handle in its next turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

interface End {
  handle: PacketHandle;
  received: { text: string; fds: number[] }[];
  /** Resolves at the other side's end, with its error. */
  ended: Promise<NodeJS.ErrnoException | undefined>;
}

function open(socket: number, onPacket = () => {}): End {
  const received: End['received'] = [];
  let end = (_error: NodeJS.ErrnoException | undefined) => {};
  const ended = new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    end = resolve;
  });
  const take = (bytes: Buffer, fds: number[]) => {
    received.push({ text: bytes.toString(), fds });
    onPacket();
  };
  return { handle: native.openPackets(socket, take, end), received, ended };
}

/** Two ends that are connected by a socket in a folder of their own. */
async function pair(t: { teardown(action: () => unknown): void }, onPacket?: () => void): Promise<[End, End]> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-packets-'));
  const path = join(folder, 'socket');
  let take = (_socket: number) => {};
  const accepted = new Promise<number>((resolve) => {
    take = resolve;
  });
  const listener = native.listenPackets(path, (socket) => take(socket));
  const dialled = native.dialPackets(path);
  const ends: [End, End] = [open(dialled), open(await accepted, onPacket)];
  t.teardown(async () => {
    listener.close();
    for (const { handle } of ends) handle.close();
    await rm(folder, { recursive: true });
  });
  return ends;
}

t.test('packets pass with descriptors, which change hands', async (t) => {
  let arrived = () => {};
  const there = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const [one, two] = await pair(t, () => two.received.length === 2 && arrived());
  const before = await descriptors();
  const fd = openSync('/dev/null', 'r');
  one.handle.send(Buffer.from('plain'), []);
  one.handle.send(Buffer.from('with one'), [fd]);
  await there;
  const [plain, withOne] = two.received;
  t.same(plain, { text: 'plain', fds: [] });
  t.equal(withOne?.text, 'with one');
  t.equal(await descriptors(), before + 1, 'the sender has none left');
  for (const each of withOne?.fds ?? []) closeSync(each);
  one.handle.close();
  t.equal(await two.ended, undefined);
  t.throws(() => two.handle.send(Buffer.from('x'), []), { code: 'EPIPE', syscall: 'sendmsg' });
  two.handle.close();
});

t.test('what is too much is refused, and its descriptors closed', async (t) => {
  const [one, two] = await pair(t);
  const before = await descriptors();
  const some = (length: number) => Array.from({ length }, () => openSync('/dev/null', 'r'));
  t.throws(() => one.handle.send(Buffer.from('x'), some(4)), { code: 'EMSGSIZE' });
  t.throws(() => one.handle.send(Buffer.alloc(4097), some(3)), { code: 'EMSGSIZE' });
  one.handle.close();
  t.throws(() => one.handle.send(Buffer.from('x'), some(3)), { code: 'EPIPE' });
  await two.ended;
  await turn();
  t.ok((await descriptors()) <= before);
  t.throws(() => native.dialPackets('/nowhere/at/all'), {
    code: 'ENOENT',
    syscall: 'connect',
    path: '/nowhere/at/all',
  });
  t.throws(() => native.listenPackets('/nowhere/at/all', () => {}), { code: 'ENOENT', syscall: 'listen' });
});

t.test('who does not read holds up nobody', async (t) => {
  const [one] = await pair(t);
  t.throws(
    () => {
      // Nothing is taken before this turn of the loop ends.
      for (let i = 0; i < 10_000; i += 1) one.handle.send(Buffer.alloc(1000), []);
    },
    { code: 'EAGAIN' },
  );
});

t.test('a worker that ends with channels and sockets open leaves nothing', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-worker-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const before = await descriptors();
  const path = join(folder, 'socket');
  const script = `
    import { parentPort } from 'node:worker_threads';
    import { native } from ${JSON.stringify(ADDON)};
    const [one, two] = native.createChannel(${RING_BYTES});
    const ends = [native.openChannel(one, () => {}), native.openChannel(two, () => {})];
    const open = (socket) => native.openPackets(socket, () => {}, () => {});
    native.listenPackets(${JSON.stringify(path)}, (socket) => {
      open(socket);
      parentPort.postMessage('all open');
    });
    open(native.dialPackets(${JSON.stringify(path)}));
    native.watchPid(process.pid, () => {});
    setInterval(() => ends[0].strike(), 1);`;
  for (const how of ['terminate', 'exit'] as const) {
    const source = how === 'exit' ? `${script}; parentPort.once('message', () => process.exit());` : script;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { stderr: true });
    worker.stderr.pipe(process.stderr);
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    t.match(await readFile('/proc/self/maps', 'utf8'), /shoal-channel/);
    t.ok((await stat(path)).isSocket());
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    if (how === 'exit') worker.postMessage('exit');
    else await worker.terminate();
    await ended;
    t.notMatch(await readFile('/proc/self/maps', 'utf8'), /shoal-channel/, how);
    t.ok((await descriptors()) <= before, `${how}: no descriptor is left`);
  }
});

/** Takes all descriptors it may have, says what share of its time the loop is busy with who waits, and gives one back. */
const FULL = `
const { openSync, closeSync } = await import('node:fs');
const { native } = await import(process.argv[1]);
native.listenPackets(process.argv[2], () => process.stdout.write('accepted'));
const held = [];
const fill = () => { try { for (;;) held.push(openSync('/dev/null')); } catch (error) { if (error.code !== 'EMFILE') throw error; } };
process.once('SIGUSR2', () => {
  const { eventLoopUtilization } = performance;
  const before = eventLoopUtilization();
  setTimeout(() => {
    process.stdout.write(JSON.stringify(eventLoopUtilization(before).utilization) + '\\n');
    closeSync(held.pop());
  }, 500);
});
process.stdout.write('full\\n');
fill();
`;

t.test('who cannot be accepted for lack of descriptors waits, and keeps nobody busy', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-packets-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const words = ['--nofile=64', '--', process.execPath, '--input-type=module', '-e', FULL, '--', ADDON, path];
  const child = spawn('prlimit', words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until(() => said.startsWith('full\n'));
  const dialled = open(native.dialPackets(path));
  t.teardown(async () => dialled.handle.close());
  child.kill('SIGUSR2');
  await until(() => /\n[\d.e-]+\n/.test(said));
  const busy = Number(said.split('\n')[1]);
  t.ok(busy < 0.5, `busy for ${busy} of its time`);
  await until(() => said.endsWith('accepted'));
});
