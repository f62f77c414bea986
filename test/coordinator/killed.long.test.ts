import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { phaseOf } from '../../coordinator/learned.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import { withChange } from '../../protocol/desired-change.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import type { DecisionView, ForecastView } from '../../protocol/http.js';
import { NewsWriter, toWire } from '../../protocol/instance-news.js';
import { LIMITS } from '../../protocol/limits.js';
import { type Desired, type InstanceStatus, LINK_VERSION, type ToAgent } from '../../protocol/link.js';

const MAIN = fileURLToPath(new URL('../../coordinator/main.js', import.meta.url));
const SEASON_SECONDS = 20;
/** From the host's first report until what was learned is stored: two seasons, and some. */
const TURN_MS = 50_000;

/** A component whose turn to be stored comes about then, since each has its own in the minute. */
function nameWithTurnAt(ms: number): string {
  for (let i = 0; ; i += 1) {
    const early = ms - phaseOf(`shop/web${i}`, LIMITS.learnedPeriodMs);
    if (early % LIMITS.learnedPeriodMs < 500) return `web${i}`;
  }
}

const manifestOf = (name: string) => `app: shop
components:
  ${name}: { rootfs: host, command: [x], season: ${SEASON_SECONDS}s, count: { min: 1, max: 4 }, size: { cpu: { min: 0.1, max: 1 } } }
`;
const startedMs = Date.now();
/** The demand of this moment in cores: up and down every 20 s. */
const demandNow = () => 1 + 0.5 * Math.sin((2 * Math.PI * (Date.now() - startedMs)) / 20_000);

/** A host whose instances are ready at once and use what is asked of them, as reported once a second. */
class FakeHost {
  readonly #used = new Map<string, number>();
  readonly #timer = setInterval(() => this.#report(), LIMITS.heartbeatMs);
  readonly #socket;
  readonly #news = new NewsWriter();
  #desired: Desired = { revision: 0, apps: {}, instances: [], shards: {} };

  constructor(path: string) {
    this.#socket = connect(path);
    const reader = new FrameReader();
    this.#socket.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk) as ToAgent[]) {
        if (message.type === 'desired') this.#desired = message.desired;
        if (message.type === 'change') this.#desired = withChange(this.#desired, message.change) ?? this.#desired;
      }
    });
    // The coordinator is killed while connected.
    this.#socket.on('error', () => undefined);
    const host = { name: 'h1', cores: 8, memoryBytes: 2 ** 34, kernel: '6.1', degraded: [] };
    this.#socket.write(encodeFrame({ type: 'hello', version: LINK_VERSION, host, revision: 0 }));
  }

  end(): void {
    clearInterval(this.#timer);
    this.#socket.destroy();
  }

  #report(): void {
    const { revision, instances } = this.#desired;
    const reported = instances.map(({ id, app, component, size }): InstanceStatus => {
      const used = (this.#used.get(id) ?? 0) + Math.min(size.cpu, demandNow() / instances.length);
      this.#used.set(id, used);
      const calls = { arrived: Math.round(used * 50), finished: Math.round(used * 50), failed: 0, outstanding: 0 };
      const latencyBuckets = Array.from({ length: LATENCY_BUCKETS }, (_, i) => (i === 12 ? calls.finished : 0));
      const bytes = { memoryBytes: 2 ** 25, ioReadBytes: 0, ioWriteBytes: 0 };
      const sample = { cpuSeconds: used, ...bytes, ...calls, latencyBuckets };
      return { id, app, component, phase: 'ready', size, restarts: 0, shards: [], sample };
    });
    const news = toWire(this.#news.write(reported));
    this.#socket.write(encodeFrame({ type: 'report', atMs: Date.now(), revision, ...news, events: [] }));
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

t.test('a coordinator that is killed goes on with what it had learned', { timeout: 240_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-killed-'));
  const port = await freePort();
  const socket = join(folder, 'c.sock');
  const base = `http://127.0.0.1:${port}`;
  let coordinator: ChildProcess | undefined;
  let host: FakeHost | undefined;
  const kill = async () => {
    host?.end();
    if (coordinator === undefined || coordinator.exitCode !== null || coordinator.signalCode !== null) return;
    coordinator.kill('SIGKILL');
    await once(coordinator, 'exit');
  };
  t.teardown(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  });
  const start = async () => {
    const words = [
      '--data',
      join(folder, 'data'),
      '--socket',
      socket,
      '--run',
      folder,
      '--listen',
      `127.0.0.1:${port}`,
    ];
    coordinator = spawn(process.execPath, [MAIN, ...words], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, SHOAL_LOG: 'warn' },
    });
    const isUp = () =>
      fetch(`${base}/healthz`).then(
        ({ ok }) => ok,
        () => false,
      );
    while (!(await isUp())) await delay(50);
  };
  const ask = async <T>(path: string): Promise<T> => (await (await fetch(base + path)).json()) as T;
  const until = async <T>(path: string, isSo: (answer: T) => boolean): Promise<T> => {
    for (;;) {
      const answer = await ask<T>(path);
      if (isSo(answer)) return answer;
      await delay(200);
    }
  };

  await start();
  host = new FakeHost(socket);
  const headers = { 'content-type': 'application/yaml' };
  const turnMs = Date.now() + TURN_MS;
  const name = nameWithTurnAt(turnMs);
  const component = `/v1/apps/shop/components/${name}`;
  const put = await fetch(`${base}/v1/apps/shop`, { method: 'PUT', headers, body: manifestOf(name) });
  t.equal(put.status, 200);
  const before = await until<ForecastView>(
    `${component}/forecast?horizon=20`,
    ({ accuracy }) => Date.now() > turnMs + 2_000 && accuracy.step.compared >= 2 * SEASON_SECONDS,
  );
  const changes = (await ask<DecisionView[]>(`${component}/decisions`)).filter(({ changed }) => changed);
  t.ok(changes.length > 0);

  await kill();
  await start();
  const after = await ask<ForecastView>(`${component}/forecast?horizon=20`);
  // What was learned in its last minute is gone, thus perhaps another form of the same season.
  const season = /season \d+ s/.exec(before.model)?.[0];
  t.match(after.model, season ?? before.model, 'what it had learned answers before any new sample has come');
  const means = (view: ForecastView) => view.points.map(({ mean }) => mean);
  t.ok(
    Math.max(...means(after)) - Math.min(...means(after)) > 0.5,
    `it knows the season: ${means(after).map((mean) => mean.toFixed(2))}`,
  );
  const kept = await ask<DecisionView[]>(`${component}/decisions`);
  // Another one may have come before the kill.
  const kinds = kept.map(({ summary }) => summary);
  t.ok(kinds.includes(changes.at(-1)?.summary ?? ''), `and why it is as it is: ${kinds.join(' | ')}`);

  host = new FakeHost(socket);
  const [present] = await until<DecisionView[]>(
    `${component}/decisions?last=1`,
    ([last]) => (last?.atMs ?? 0) > (kept.at(-1)?.atMs ?? 0),
  );
  const cores = ({ count, size } = { count: 0, size: { cpu: 0, memory: 0 } }) => count * size.cpu;
  const [was, is] = [cores(kept.at(-1)?.after), cores(present?.after)];
  // Demand may rise meanwhile; that it has begun anew is no reason to shrink.
  t.ok(is > 0.9 * was, `it holds what it had: ${was} → ${is} cores: ${present?.summary}`);
});
