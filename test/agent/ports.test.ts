import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { Paths } from '../../agent/paths.js';
import { Ports } from '../../agent/ports.js';

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
  const events = { wanted() {}, failed: (_app: string, _component: string, message: string) => told.push(message) };
  const ports = new Ports(new Paths(folder), events, pino({ level: 'silent' }));
  t.teardown(() => ports.close());
  await ports.sync([{ app: 'a', component: 'web', name: 'http', host, instances: [] }]);
  while (tried < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  t.match(told, [/cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/]);
  t.equal(told.length, 1);

  await new Promise((resolve) => other.close(resolve));
  const accepted = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(host, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      t.teardown(() => socket.destroy());
    });
  while (!(await accepted())) await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(told.length, 1);
});
