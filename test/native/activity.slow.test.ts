import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type Activity, type ActivityDetail, native, packageRoot } from '../../native/index.js';
import { compile, end, makeCgroup, makeFolder, runFed } from './workload.js';

const PAGES = 1_000;
const CALLS = 1_234;
const READS = 50;
const PAGE = 4_096;
const CONNECTIONS = 7;
const SENT = 10_000;
const RECEIVED = 5_000;
const WAIT_MS_MAX = 60_000;

function start(t: Test, systemCalls: boolean) {
  const profiler = native.createActivityProfiler();
  t.teardown(async () => profiler.close());
  return { profiler, missing: profiler.start(systemCalls) };
}

/** A file on a disk: the folder for temporary files is memory on some hosts. */
async function makeFile(t: Test): Promise<string> {
  const folder = await mkdtemp(join(packageRoot(), 'build', 'acts-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = await open(join(folder, 'blocks'), 'w');
  await file.write(Buffer.alloc(READS * PAGE, 1));
  await file.sync();
  await file.close();
  return join(folder, 'blocks');
}

/** Takes what a connection sends, and answers each with so many bytes. */
async function serve(t: Test): Promise<number> {
  const server = createServer((socket) => {
    let taken = 0;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      taken += chunk.length;
      if (taken === SENT) socket.end(Buffer.alloc(RECEIVED));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const minus = (after: Activity, before: Activity, field: keyof Activity) =>
  (after[field] ?? Number.NaN) - (before[field] ?? Number.NaN);

function countOf(details: readonly ActivityDetail[], kind: ActivityDetail['kind'], name: string) {
  const found = details.filter((each) => each.kind === kind && each.name === name);
  return found.reduce((sum, { count }) => sum + count, 0);
}

t.test('what a program does is counted exactly, and nothing of others', async (t) => {
  const program = join(await makeFolder(t), 'acts');
  compile('acts.c', program, ['cc', '-O1']);
  const [cgroup, other] = [await makeCgroup(t), await makeCgroup(t)];
  const scheduler = native.createProfiler();
  t.teardown(async () => scheduler.close());
  scheduler.start();
  scheduler.watch(cgroup);
  const faults = () => {
    const { faultsMinor: minor = Number.NaN, faultsMajor: major = Number.NaN } = scheduler.read().get(cgroup) ?? {};
    return { minor, major };
  };
  const port = await serve(t);
  const child = runFed(cgroup, [program, await makeFile(t), String(port)]);
  t.teardown(() => end(child));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  t.equal((await lines.next()).value, 'ready');
  // Not before: until the first drain all faults are looked at, and how the program itself was loaded is not asked here.
  const { profiler, missing } = start(t, true);
  t.comment(missing);
  profiler.watch(cgroup);
  profiler.watch(other);
  profiler.cost();
  const before = profiler.read().get(cgroup) ?? {};
  const faultsBefore = faults();
  child.stdin?.write('\n');
  const [minor = Number.NaN, major = Number.NaN] = String((await lines.next()).value)
    .split(' ')
    .map(Number);
  const after = profiler.read().get(cgroup) ?? {};
  const faultsAfter = faults();
  const { details, lost, blocks } = profiler.drain();
  t.equal(lost, 0);

  if (missing['page faults by mapping'] === undefined) {
    t.equal(countOf(details, 'minor fault', 'memfd:shoal-acts'), PAGES, 'a fault for each page of the mapping');
  }
  // Between its own two looks and ours it reads and prints a line, into buffers that are new to it.
  const seen = faultsAfter.minor - faultsBefore.minor;
  t.ok(seen >= minor && seen <= minor + 20, `${seen} minor faults, by the kernel's own account ${minor}`);
  t.equal(faultsAfter.major - faultsBefore.major, major);
  t.equal(countOf(details, 'system call', 'getppid'), CALLS);
  t.equal(countOf(details, 'system call', 'pread64'), READS);
  t.equal(countOf(details, 'system call', 'connect'), CONNECTIONS);
  t.ok(minus(after, before, 'systemCallSeconds') > 0);
  if (missing['block I/O'] === undefined) {
    t.equal(minus(after, before, 'blockReads'), READS);
    t.equal(minus(after, before, 'blockReadBytes'), READS * PAGE);
    const { buckets = [] } = blocks.find((each) => each.cgroup === cgroup) ?? {};
    t.equal(
      buckets.reduce((sum, count) => sum + count, 0),
      after.blockReads,
      'each has its place in the histogram',
    );
    t.ok(minus(after, before, 'blockSeconds') > 0);
  }
  if (missing['network bytes'] === undefined) {
    t.equal(minus(after, before, 'sentBytes'), CONNECTIONS * SENT);
    t.equal(minus(after, before, 'receivedBytes'), CONNECTIONS * RECEIVED);
  }
  t.equal(minus(after, before, 'connects'), CONNECTIONS);
  t.ok(minus(after, before, 'connectSeconds') > 0);
  t.equal(countOf(details, 'peer', `127.0.0.1:${port}`), CONNECTIONS);
  const idle = profiler.read().get(other) ?? {};
  t.same([idle.systemCalls, idle.sentBytes], [0, 0], 'nobody is in the other cgroup');
  const cost = profiler.cost();
  t.ok(cost.runs > 0 && cost.seconds > 0);
});

t.test('a connection that does not come about: segments sent again, by peer', async (t) => {
  const cgroup = await makeCgroup(t);
  const { profiler } = start(t, false);
  profiler.watch(cgroup);
  // A full queue of a listener: the kernel drops who else asks, who then asks again.
  const script = `import socket, time
server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen(0)
print(server.getsockname()[1], flush=True)
clients = []
for _ in range(4):
    client = socket.socket(); client.setblocking(False); client.connect_ex(server.getsockname()); clients.append(client)
time.sleep(60)`;
  const child = runFed(cgroup, ['python3', '-c', script]);
  t.teardown(() => end(child));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const port = String((await lines.next()).value);
  const beganMs = performance.now();
  while ((profiler.read().get(cgroup)?.retransmits ?? 0) === 0) {
    if (performance.now() - beganMs > WAIT_MS_MAX) throw new Error('no segment was sent again');
    await setTimeout(100);
  }
  const peers = profiler.drain().details.filter(({ kind, name }) => kind === 'peer' && name === `127.0.0.1:${port}`);
  t.ok(peers.some((each) => each.kind === 'peer' && each.retransmits > 0));
  t.notOk('systemCalls' in (profiler.read().get(cgroup) ?? {}), 'what is not counted is not told');
});
