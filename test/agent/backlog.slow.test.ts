import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Control } from '../../agent/control.js';
import { Fence } from '../../agent/fence.js';
import { Link } from '../../agent/link.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { LIMITS } from '../../protocol/limits.js';
import { type AgentEvent, LINK_VERSION_CHANGES, type ToCoordinator } from '../../protocol/link.js';
import { idleAgent } from './idle-agent.js';

const HOST = { name: 'h', cores: 1, memoryBytes: 1, kernel: '6', degraded: [] };
const MESSAGE = 'x'.repeat(100_000);

/** A folder of its own for a test, gone with it. */
async function folderOf(t: { teardown(action: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-backlog-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

t.test('a process that does not read what the agent tells it is cut off', async (t) => {
  const folder = await folderOf(t);
  let closed: string | undefined;
  const control = new Control('a-b-0', {
    waits() {},
    copiesWanted() {},
    hello() {},
    warm() {},
    ready() {},
    stats() {},
    wanted() {},
    flooded() {},
    closed: (why) => {
      closed = why;
    },
  });
  t.teardown(() => control.close());
  await control.listen(folder, process.geteuid?.() ?? 0);
  const deaf = connect(join(folder, 'agent.sock'));
  deaf.pause();
  const ended = new Promise((resolve) => deaf.once('close', resolve));
  await new Promise((resolve) => deaf.once('connect', resolve));
  while (!control.connected) await new Promise((resolve) => setImmediate(resolve));
  const routes = { b: { instances: ['x'.repeat(2 ** 20)] } };
  let sent = 0;
  for (; closed === undefined && sent < 1_000; sent += 1) control.sendRoutes(sent, routes);
  t.match(closed, /does not read/);
  t.ok(sent * 2 ** 20 < 6 * LIMITS.frameBytesMax, `cut off after ${sent} MiB`);
  deaf.resume();
  await ended;
});

t.test('a coordinator that does not read gets no queue of reports, and later every event once', async (t) => {
  const folder = await folderOf(t);
  const got: AgentEvent[] = [];
  let socket: Socket | undefined;
  const server = createServer((accepted) => {
    socket = accepted;
    const reader = new FrameReader();
    accepted.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk) as ToCoordinator[]) {
        if (message.type === 'report') got.push(...message.events);
        // Of a version in which no answers are waited for.
        else
          accepted.write(encodeFrame({ type: 'welcome', version: LINK_VERSION_CHANGES - 1 }), () => accepted.pause());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 'c.sock'), resolve));

  let changed = () => {};
  let reports = 0;
  let waiting: AgentEvent[] = [];
  const agent = idleAgent({
    report: async () => {
      reports += 1;
      return { instances: [], events: waiting.splice(0) };
    },
    keep: (events) => {
      waiting = [...events, ...waiting];
    },
    onChange: (listener) => {
      changed = listener;
    },
  });
  const link = new Link({
    coordinators: [join(folder, 'c.sock')],
    host: HOST,
    agent,
    fence: await Fence.open(join(folder, 'term.json')),
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => {
    link.close();
    socket?.destroy();
    server.close();
  });
  link.start();
  const happen = (atMs: number) => {
    waiting.push({ atMs, app: 'a', component: 'b', instance: '', kind: 'x', message: MESSAGE });
    changed();
  };
  // As many as make ten megabytes, were each sent.
  let made = 0;
  for (; made < 100; made += 1) {
    happen(made);
    const before = reports;
    const deadline = performance.now() + 60;
    while (reports === before && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  t.ok(reports < 20, `${reports} reports were made for nobody`);
  socket?.resume();
  while (got.length < made) await new Promise((resolve) => setTimeout(resolve, 5));
  t.strictSame(
    got.map((event) => event.atMs),
    Array.from({ length: made }, (_, i) => i),
  );
});
