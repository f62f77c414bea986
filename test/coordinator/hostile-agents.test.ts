import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { readAgentMessage } from '../../coordinator/link-messages.js';
import { startLinkServer } from '../../coordinator/link-server.js';
import { ShoalError } from '../../protocol/errors.js';
import { decodeBody, encodeBody, encodeFrame, FrameReader } from '../../protocol/frame.js';
import { NewsWriter, toWire } from '../../protocol/instance-news.js';
import { LIMITS } from '../../protocol/limits.js';
import { type InstanceStatus, LINK_VERSION, type ToAgent } from '../../protocol/link.js';
import { until } from '../../scripts/lib/until.js';
import { CoordinatorRig } from './rig.js';

const HOST = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
const INPUTS = 1_000;
const CONNECTIONS = 50;

function status(calls: number): InstanceStatus {
  const used = { cpuSeconds: calls / 100, memoryBytes: 1e7, ioReadBytes: 0, ioWriteBytes: 0 };
  const counted = {
    arrived: calls,
    finished: calls,
    failed: 0,
    outstanding: 0,
    latencyBuckets: Array.from({ length: 48 }, () => 0),
  };
  const size = { cpu: 0.1, memory: 2 ** 26 };
  const known = { id: 'shop-web-0', app: 'shop', component: 'web', phase: 'ready', size, restarts: 0 } as const;
  return { ...known, shards: [], sample: { ...used, ...counted } };
}

const hello = (name: string) => ({ type: 'hello', version: LINK_VERSION, host: { ...HOST, name }, revision: 0 });

/** What an agent says once a second, of which each message only tells what changed since the one before. */
function reports(): object[] {
  const news = new NewsWriter();
  return [1, 2, 3].map((second) => {
    const told = toWire(news.write([status(second * 20)]));
    return { type: 'report', atMs: second * 1_000, revision: 0, ...told, events: [] };
  });
}

/** Bytes of a good message of which some are others, are missing, or come twice. */
const spoilt = fc
  .record({
    message: fc.constantFrom<object>(hello('h1'), ...reports(), { type: 'resync', revision: 3 }),
    at: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(255)), { minLength: 1, maxLength: 6 }),
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    how: fc.constantFrom('other', 'short', 'twice'),
  })
  .map(({ message, at, cut, how }) => {
    const body = Buffer.from(encodeBody(message));
    for (const [where, byte] of at) body[Math.floor(where * (body.length - 1))] = byte;
    const end = Math.floor(cut * body.length);
    if (how === 'short') return body.subarray(0, end);
    return how === 'twice' ? Buffer.concat([body.subarray(0, end), body]) : body;
  });

t.test('any bytes in a frame are a message or refused by name', async () => {
  const bytes = fc.oneof({ weight: 3, arbitrary: spoilt }, fc.uint8Array({ maxLength: 300 }));
  const read = (body: Uint8Array) => {
    try {
      readAgentMessage(decodeBody(body));
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error;
    }
  };
  fc.assert(fc.property(bytes, read), { numRuns: INPUTS });
});

async function served(t: Test, silenceMsMax: number = LIMITS.peerSilenceMsMax) {
  const rig = await CoordinatorRig.make();
  const socket = join(rig.folder, 'c.sock');
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const link = await startLinkServer({ socket, log, silenceMsMax });
  link.follow(rig.coordinator);
  t.teardown(async () => {
    await link.close();
    await rig.close();
  });
  return { rig, socket, lines };
}

function dialled(t: Test, path: string): Socket {
  const socket = connect(path);
  socket.on('error', () => undefined);
  socket.resume();
  t.teardown(() => socket.destroy());
  return socket;
}

t.test('connections of garbage end, and an agent beside them is heard as before', async (t) => {
  const { rig, socket } = await served(t);
  const good = dialled(t, socket);
  good.write(encodeFrame(hello('good')));
  await until(() => rig.coordinator.observed.hosts.get('good')?.connected === true);
  const sample = fc.sample(fc.oneof(spoilt, fc.uint8Array({ minLength: 1, maxLength: 300 })), {
    numRuns: CONNECTIONS,
    seed: 7,
  });
  for (const body of sample) {
    const bad = dialled(t, socket);
    const header = Buffer.alloc(4);
    header.writeUInt32LE(body.length);
    // Twice a hello, or what is none: the coordinator ends it, whichever it was.
    bad.write(Buffer.concat([header, body, encodeFrame(hello('bad')), encodeFrame(hello('bad'))]));
    await until(() => bad.closed);
  }
  good.write(encodeFrame(reports()[0]));
  await until(() => rig.coordinator.observed.hosts.get('good')?.statuses.size === 1);
  t.equal(rig.coordinator.observed.hosts.get('good')?.connected, true);
  t.notOk(good.closed);
});

t.test('frames that are played again or out of order are refused, or change nothing', async (t) => {
  const { rig, socket } = await served(t);
  const [first, second, third] = reports() as [object, object, object];
  const orders: { name: string; frames: object[] }[] = [
    { name: 'a report before the hello', frames: [first, hello('h1')] },
    { name: 'the second report before the first', frames: [hello('h1'), second, first] },
    { name: 'the hello again', frames: [hello('h1'), first, second, hello('h1')] },
  ];
  for (const { name, frames } of orders) {
    const bad = dialled(t, socket);
    for (const frame of frames) bad.write(encodeFrame(frame));
    await until(() => bad.closed);
    t.pass(`${name}: ended`);
  }
  const agent = dialled(t, socket);
  for (const frame of [hello('h1'), first, second, second, third, third]) agent.write(encodeFrame(frame));
  const seen = () => rig.coordinator.observed.hosts.get('h1')?.statuses;
  await until(() => seen()?.size === 1);
  await rig.coordinator.tick();
  t.same([...(seen()?.keys() ?? [])], ['shop-web-0']);
  t.notOk(agent.closed, 'a report that comes twice says the same twice');
});

t.test('who sends byte by byte is cut off when no whole message comes in time', async (t) => {
  const { socket } = await served(t, 300);
  const slow = dialled(t, socket);
  const bytes = encodeFrame(hello('h1'));
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < bytes.length - 1) slow.write(bytes.subarray(sent, sent + 1));
    sent += 1;
  }, 20);
  t.teardown(() => clearInterval(timer));
  await until(() => slow.closed);
  t.ok(sent < bytes.length, `cut off after ${sent} of ${bytes.length} bytes`);
});

/** What is said on the connection while it is read. */
function heardOn(socket: Socket): ToAgent[] {
  const [heard, reader] = [[] as ToAgent[], new FrameReader()];
  socket.on('data', (chunk: Buffer) => heard.push(...(reader.push(chunk) as ToAgent[])));
  return heard;
}

/** A question of some size, so that few of them come at once. */
const question = encodeFrame({ type: 'seeds-wanted', request: 1, image: 'x'.repeat(2_000) });

t.test('who says too much is read no faster than it may, and an agent beside it is heard', async (t) => {
  const { rig, socket, lines } = await served(t);
  const [good, bad] = [dialled(t, socket), dialled(t, socket)];
  const heard = heardOn(bad);
  good.write(encodeFrame(hello('good')));
  bad.write(encodeFrame(hello('bad')));
  await until(() => rig.coordinator.observed.hosts.size === 2);
  const startMs = performance.now();
  const { agentMessagesPerSecondMax: perSecond, agentMessagesBurstMax: burst } = LIMITS;
  for (let each = 0; each < 3 * burst; each += 1) bad.write(question);
  const answers = () => heard.filter(({ type }) => type === 'seeds').length;
  await until(() => lines.some((line) => /"host":"bad".*read more slowly/.test(line)));
  good.write(encodeFrame(reports()[0]));
  await until(() => rig.coordinator.observed.hosts.get('good')?.statuses.size === 1);
  const most = burst + (perSecond * (performance.now() - startMs)) / 1_000;
  // Those of one more read.
  t.ok(answers() > burst / 2 && answers() < most + 40, `${answers()} of at most ${Math.round(most)}`);
  t.notOk(bad.closed, 'it is only slow');
});

t.test('who does not read gets no answers that would pile up, and one when it reads again', async (t) => {
  const { rig, socket } = await served(t);
  const agent = dialled(t, socket);
  const heard = heardOn(agent);
  const nothing = { type: 'report', atMs: 0, revision: 0, ...toWire(new NewsWriter().write([])), events: [] };
  agent.write(Buffer.concat([hello('h1'), nothing].map(encodeFrame)));
  const words = () => heard.map(({ type }) => type);
  await until(() => words().includes('heard'));
  t.same(words(), ['welcome', 'desired', 'heard']);
  agent.pause();
  // More than a socket holds.
  const env = { LARGE: 'x'.repeat(240 * 1024) };
  const components = { web: { rootfs: 'host', command: ['/bin/true'], env } };
  const payload = { app: 'shop', components };
  t.equal((await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload })).statusCode, 200);
  for (let each = 0; each < 100; each += 1) agent.write(question);
  agent.write(encodeFrame(reports()[0]));
  await until(() => rig.coordinator.observed.hosts.get('h1')?.statuses.size === 1);
  t.equal(heard.length, 3, 'nothing is read yet');
  agent.resume();
  await until(() => heard.length >= 5);
  t.same(words().slice(3), ['change', 'heard']);
});
