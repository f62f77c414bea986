import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { AddressLimit } from '../../coordinator/address-limit.js';
import { createFront, STRANGER_RATES } from '../../coordinator/api/front.js';
import { capConnections } from '../../coordinator/connections.js';
import { LeftOutCounter } from '../../coordinator/left-out.js';
import { RefusalLog } from '../../coordinator/refusal-log.js';
import type { Problem } from '../../protocol/http.js';
import { until, within } from '../../scripts/lib/until.js';
import { CoordinatorRig } from './rig.js';

const WAIT_MS_MAX = 20_000;
/** A front whose slow callers are cut off soon. */
const TIMEOUTS = { headersTimeout: 300, requestTimeout: 600, connectionsCheckingInterval: 50 };

async function listeningFront(t: { teardown(action: () => void): void }, rig: CoordinatorRig, lines: string[] = []) {
  const view = () => Promise.reject(new Error('nobody asks')) as never;
  const server = createFront({
    ...{ token: null, loopback: true, timeouts: TIMEOUTS },
    behind: { api: rig.api, leads: true, leaderApi: null, onLeaderChange: () => undefined, view },
    log: pino({ level: 'info' }, { write: (line: string) => lines.push(line) }),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

function dialled(t: { teardown(action: () => void): void }, port: number): Socket {
  const socket = connect(port, '127.0.0.1');
  t.teardown(() => void socket.destroy());
  socket.on('error', () => undefined).resume();
  return socket;
}

const ended = (socket: Socket) => within('the connection to end', WAIT_MS_MAX, once(socket, 'close'));

t.test('an address may ask so often, all together so often, and nobody is remembered for ever', async (t) => {
  let nowMs = 0;
  const limit = new AddressLimit(STRANGER_RATES, () => nowMs);
  const taken = (address: string, times: number) =>
    Array.from({ length: times }, () => limit.take(address)).filter((waitMs) => waitMs === 0).length;
  const burst = taken('10.0.0.1', 100);
  t.ok(burst >= 30 && burst < 40, `${burst} at once`);
  const waitMs = limit.take('10.0.0.1');
  t.ok(waitMs > 0 && waitMs <= 1_000);
  t.equal(limit.take('10.0.0.2'), 0, 'another one is not kept out');
  nowMs += waitMs;
  t.equal(limit.take('10.0.0.1'), 0, 'after the time that was said');
  t.equal(taken('2001:db8::1', 40), burst);
  t.equal(taken('2001:db8:0:0:ffff::2', 1), 0, 'a /64 counts as one');
  t.equal(taken('2001:db8:0:1::1', 1), 1);
  const many = Array.from({ length: 6_000 }, (_, i) => taken(`10.1.${i >> 8}.${i & 255}`, 1)).filter(Boolean).length;
  t.ok(many < 200, `all together ${many} more`);
  t.ok(limit.size <= 4_096, `${limit.size} are remembered`);
});

t.test('who tries to join too often is told when to come back, others are answered, and a line says who', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const lines: string[] = [];
  const url = `http://127.0.0.1:${await listeningFront(t, rig, lines)}`;
  const join = () =>
    fetch(`${url}/v1/join`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: `shoal-join.${'0'.repeat(12)}.x.y`, host: 'h1', request: 'x' }),
    });
  let refused: Response | undefined;
  for (let tries = 0; tries < 500 && refused === undefined; tries += 1) {
    const answer = await join();
    if (answer.status === 429) refused = answer;
    else await answer.text();
  }
  t.match(await (refused as Response).json(), { code: 'SHOAL_E_RATE', detail: /127.0.0.1.*try again in \d+ s/ });
  t.ok(Number(refused?.headers.get('retry-after')) >= 1);
  t.equal((await fetch(`${url}/v1/hosts`)).status, 200);
  const audit = lines.map((line) => JSON.parse(line)).find(({ status }) => status === 429);
  t.match(audit, { audit: true, from: '127.0.0.1', url: '/v1/join' });
  const problem = (await (await fetch(`${url}/v1/renew`, { method: 'POST' })).json()) as Problem;
  t.equal(problem.status === 429 || problem.status < 500, true);
});

t.test('who sends a request byte by byte is cut off, in its head and in its body, and disturbs nobody', async (t) => {
  const rig = await CoordinatorRig.make();
  t.teardown(() => rig.close());
  const port = await listeningFront(t, rig);
  const [head, body] = [dialled(t, port), dialled(t, port)];
  const over = [head, body].map(ended);
  body.write(
    'PUT /v1/apps/x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/yaml\r\ncontent-length: 9999\r\n\r\n',
  );
  head.write('GET /v1/hosts HTTP/1.1\r\nx: ');
  const dripping = setInterval(() => {
    for (const socket of [head, body]) if (socket.writable) socket.write('a');
  }, 20);
  t.teardown(() => clearInterval(dripping));
  t.equal((await fetch(`http://127.0.0.1:${port}/v1/hosts`)).status, 200);
  t.equal((await Promise.all(over)).length, 2);
  t.equal((await fetch(`http://127.0.0.1:${port}/v1/hosts`)).status, 200);
});

t.test('an address has so many connections; when some end there is room again', async (t) => {
  const refused: string[] = [];
  const server = createServer((socket) => void socket.on('error', () => undefined).resume());
  const endAll = capConnections(server, { all: 100, perAddress: 3 }, (address) => refused.push(address));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = [0, 1, 2].map(() => dialled(t, port));
  await within('three connections', WAIT_MS_MAX, Promise.all(sockets.map((socket) => once(socket, 'connect'))));
  await ended(dialled(t, port));
  t.same(refused, ['127.0.0.1']);
  const gone = sockets[0] as Socket;
  gone.end();
  await ended(gone);
  const again = dialled(t, port);
  await once(again, 'connect');
  const closed = new Promise((resolve) => server.close(resolve));
  endAll();
  await within('the server to close', WAIT_MS_MAX, closed);
  t.equal(refused.length, 1);
});

t.test(
  'of each who is refused so much is let through, the rest is counted, and nobody vanishes behind another',
  (t) => {
    const rates = { perAddress: { perSecond: 1, burst: 5 }, inAll: { perSecond: 10, burst: 20 } };
    const asked = fc.array(
      fc.record({ from: fc.integer({ min: 0, max: 9 }), afterMs: fc.integer({ min: 0, max: 400 }) }),
      {
        maxLength: 300,
      },
    );
    fc.assert(
      fc.property(asked, (list) => {
        let nowMs = 0;
        const counter = new LeftOutCounter(rates, () => nowMs);
        const through = new Map<string, number>();
        const leftOut = new Map<string, number>();
        for (const { from, afterMs } of list) {
          nowMs += afterMs;
          const address = `10.0.0.${from}`;
          const counts = counter.take(address) ? through : leftOut;
          counts.set(address, (counts.get(address) ?? 0) + 1);
        }
        // What was taken on credit, and one second's more that comes while it is asked.
        for (const count of through.values()) if (count > 5 + nowMs / 1_000 + 1) throw new Error(`${count} of one`);
        const sum = (counts: Map<string, number>) => [...counts.values()].reduce((a, b) => a + b, 0);
        if (sum(through) > 20 + (nowMs / 1_000) * 10 + 1) throw new Error(`${sum(through)} in all`);
        const told = counter.drain();
        if ((told?.count ?? 0) !== sum(leftOut)) throw new Error(`${told?.count} of ${sum(leftOut)} are told`);
        for (const { from, count } of told?.most ?? []) if (leftOut.get(from) !== count) throw new Error(from);
        if (counter.drain() !== null) throw new Error('told twice');
      }),
    );
    const counter = new LeftOutCounter(rates, () => 0);
    for (let i = 0; i < 1_000; i += 1) counter.take('10.0.0.1');
    t.equal(counter.take('10.0.0.2'), true, 'another one is told meanwhile');
    for (let i = 0; i < 5_000; i += 1) counter.take(`10.1.${i >> 8}.${i & 255}`);
    t.match(counter.drain()?.most[0], { from: '10.0.0.1' });
    t.end();
  },
);

t.test('a flood of requests without a token is some lines and a count', async (t) => {
  const lines: { msg: string; count?: number; most?: object[] }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const refusals = new RefusalLog(log, 50);
  const behind = { api: null, leads: false, leaderApi: null, onLeaderChange: () => undefined };
  const view = () => Promise.reject(new Error('nobody asks')) as never;
  const server = createFront({
    ...{ token: 'x'.repeat(32), loopback: true, refusals, log },
    behind: { ...behind, view },
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const asked = 200;
  for (let each = 0; each < asked; each += 1) {
    t.equal((await fetch(`http://127.0.0.1:${port}/v1/apps/${each}`, { method: 'DELETE' })).status, 401);
  }
  const leftOut = () => lines.reduce((sum, { count = 0 }) => sum + count, 0);
  const written = () => lines.filter(({ msg }) => msg === 'a request was refused').length;
  await until(() => written() + leftOut() === asked);
  t.ok(written() < asked / 2, `${written()} lines`);
  t.match(lines.at(-1), { audit: true, most: [{ from: '127.0.0.1' }] });
});
