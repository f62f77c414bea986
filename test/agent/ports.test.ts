import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Paths } from '../../agent/paths.js';
import { type PortEvents, Ports, type Upstream, wantedPorts } from '../../agent/ports.js';
import { randomFrom } from '../../coordinator/brain/forecast/random.js';
import { component } from './rig.js';

t.test('a host port in use is told once, tried again, and taken when it is free', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-ports-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port: host } = other.address() as AddressInfo;

  const told: string[] = [];
  let tried = 0;
  const { listen } = other.constructor.prototype as { listen: (...words: unknown[]) => unknown };
  t.intercept(other.constructor.prototype, 'listen', {
    configurable: true,
    value: function (this: unknown, ...words: unknown[]) {
      tried += 1;
      return listen.apply(this, words);
    },
  });
  let listening = 0;
  const events: PortEvents = {
    wanted() {},
    failed: (_app, _component, message) => told.push(message),
    listening: () => {
      listening += 1;
    },
  };
  const ports = new Ports(new Paths(folder), events, pino({ level: 'silent' }));
  t.teardown(() => ports.close());
  await ports.sync([{ app: 'a', component: 'web', name: 'http', host, upstreams: [] }]);
  while (tried < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  t.match(told, [/cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/]);
  t.equal(told.length, 1);
  t.same([listening, ports.listening()], [0, []]);

  await new Promise((resolve) => other.close(resolve));
  const accepted = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(host, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      t.teardown(() => socket.destroy());
    });
  while (!(await accepted())) await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(told.length, 1);
  t.same([listening, ports.listening()], [1, [{ app: 'a', component: 'web', host }]]);
  await ports.sync([]);
  t.same(ports.listening(), []);
});

/** A component whose connections are served by sockets of this process; each says its number and then does as it likes. */
class Served {
  readonly ports: Ports;
  readonly host: number;
  readonly #folder: string;
  readonly #upstreams: Upstream[] = [];
  /** Resolves when a connection waits for an instance. */
  readonly isWanted: Promise<void>;

  private constructor(folder: string, host: number) {
    this.#folder = folder;
    this.host = host;
    let wanted = () => {};
    this.isWanted = new Promise((resolve) => {
      wanted = resolve;
    });
    const events = { wanted: () => wanted(), failed() {}, listening() {} };
    this.ports = new Ports(new Paths(folder), events, pino({ level: 'silent' }), randomFrom(7));
  }

  /** `from`: the port may listen before there is an instance. */
  static async make(t: Test, from: 'the first' | 'none yet' = 'the first'): Promise<Served> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-ports-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const served = new Served(folder, await freePort());
    t.teardown(() => served.ports.close());
    if (from === 'none yet') await served.#sync();
    return served;
  }

  /** Another instance; what it does with a connection is up to the test. Null: it does not listen. */
  async add(t: Test, weight: number, serve: ((socket: Socket) => void) | null): Promise<void> {
    const number = this.#upstreams.length;
    const folder = join(this.#folder, String(number));
    await mkdir(folder);
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.write(String(number));
      serve?.(socket);
    });
    if (serve !== null) await new Promise<void>((resolve) => server.listen(join(folder, 'http.sock'), resolve));
    t.teardown(() => server.close());
    const instance = {
      id: `a-web-${number}`,
      restarts: 0,
      ids: { base: process.geteuid?.() ?? 0, count: 1 },
      socket: (name: string) => join(folder, `${name}.sock`),
    };
    this.#upstreams.push({ instance, weight });
    await this.#sync();
  }

  async #sync(): Promise<void> {
    const wanted = { app: 'a', component: 'web', name: 'http', host: this.host, upstreams: [...this.#upstreams] };
    await this.ports.sync([wanted]);
  }

  /** Opens a connection; answers the number of the instance that it came to, and when it is closed. */
  open(t: Test): Promise<{ number: number; closed: Promise<unknown> }> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.host, '127.0.0.1');
      t.teardown(() => socket.destroy());
      const closed = new Promise((done) => socket.once('close', done));
      socket.once('error', reject);
      socket.once('data', (chunk) => resolve({ number: Number(chunk), closed }));
    });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

t.test('short connections go by weight: a quarter of the weight, a quarter of the connections', async (t) => {
  const served = await Served.make(t);
  // The next one comes when the agent, too, has seen the end of the last: else that counts as open.
  let ended = Promise.resolve();
  const end = (socket: Socket) => {
    ended = new Promise((resolve) => socket.once('close', () => setImmediate(resolve)));
    socket.end();
  };
  for (const weight of [1, 0.25, 1]) await served.add(t, weight, end);
  const counts = [0, 0, 0];
  for (let i = 0; i < 450; i += 1) {
    const { number, closed } = await served.open(t);
    counts[number] = (counts[number] ?? 0) + 1;
    await closed;
    await ended;
  }
  const [a = 0, few = 0, b = 0] = counts;
  t.ok(Math.abs(a - 200) < 40 && Math.abs(few - 50) < 25 && Math.abs(b - 200) < 40, counts.join(' '));
});

t.test('connections that stay open are shared by weight', async (t) => {
  const served = await Served.make(t);
  for (const weight of [1, 0.25, 1]) await served.add(t, weight, () => {});
  const counts = [0, 0, 0];
  for (let i = 0; i < 180; i += 1) {
    const { number } = await served.open(t);
    counts[number] = (counts[number] ?? 0) + 1;
  }
  const [a = 0, few = 0, b = 0] = counts;
  t.ok(Math.abs(a - 80) < 8 && Math.abs(few - 20) < 5 && Math.abs(b - 80) < 8, counts.join(' '));
});

t.test('a slow instance gets few new connections until it has ended those that it has', async (t) => {
  const served = await Served.make(t);
  const held: Socket[] = [];
  await served.add(t, 1, (socket) => socket.end());
  await served.add(t, 1, (socket) => held.push(socket));
  const open = async () => {
    const { number, closed } = await served.open(t);
    if (number === 0) await closed;
  };
  for (let i = 0; i < 60; i += 1) await open();
  t.ok(held.length >= 1 && held.length <= 3, `${held.length} of 60`);
  for (const socket of held.splice(0)) socket.end();
  while (held.length === 0) await open();
  t.pass('it is asked again');
});

t.test('a connection that waits is passed on as soon as an instance serves, by no clock', async (t) => {
  const served = await Served.make(t, 'none yet');
  const { setTimeout } = globalThis;
  t.teardown(() => Object.assign(globalThis, { setTimeout }));
  // No timer ends.
  Object.assign(globalThis, { setTimeout: () => 0 });
  const opened = served.open(t);
  await served.isWanted;
  await served.add(t, 1, (socket) => socket.end());
  t.equal((await opened).number, 0);
});

t.test('an instance that takes no connection is passed over', async (t) => {
  const served = await Served.make(t);
  await served.add(t, 0.25, (socket) => socket.end());
  await served.add(t, 1, null);
  for (let i = 0; i < 20; i += 1) t.equal((await served.open(t)).number, 0);
});

t.test('each host port is wanted with the weights of the instances that serve its component', async (t) => {
  const web = component('web', { ports: [{ name: 'http', host: 8080 }] });
  const serving = ['a-web-1', 'a-web-2', 'a-db-1', 'b-web-1'].map((id) => {
    const [app = '', name = ''] = id.split('-');
    return { id, app, component: name, restarts: 0, ids: { base: 1, count: 1 }, socket: () => '' };
  });
  const [port, ...others] = wantedPorts({ a: { web, db: component('db') } }, serving, (id) =>
    id === 'a-web-2' ? 0.25 : 1,
  );
  t.same(others, []);
  t.match(port, { app: 'a', component: 'web', name: 'http', host: 8080 });
  t.same(
    port?.upstreams.map(({ instance, weight }) => [instance.id, weight]),
    [
      ['a-web-1', 1],
      ['a-web-2', 0.25],
    ],
  );
});
