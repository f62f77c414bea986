import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Authority } from '../../identity/authority.js';
import { Identity } from '../../identity/identity.js';
import { ClockShift } from '../../scripts/lib/soak/clock-shift.js';
import { until, within } from '../../scripts/lib/until.js';

const DIST = resolve(fileURLToPath(import.meta.url), '../../..');
const MINUTE_MS = 60_000;

const folder = await mkdtemp(join(tmpdir(), 'shoal-clock-'));
t.teardown(() => rm(folder, { recursive: true, force: true }));
const clocks = await ClockShift.make(DIST, folder);

/** A process whose clock on the wall is that one, and the last line that it has said. */
async function start(clock: string, words: readonly string[]): Promise<{ child: ChildProcess; last: () => string }> {
  const env = { ...process.env, ...(await clocks.environment(clock)) };
  const child = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  return { child, last: () => said.trimEnd().split('\n').at(-1) ?? '' };
}

t.test('the clock on the wall jumps under a process that runs, and the one that only rises does not', async (t) => {
  const script = 'setInterval(() => console.log(Date.now(), Math.round(process.uptime() * 1000)), 20)';
  const { child, last } = await start('a', ['-e', script]);
  t.teardown(() => child.kill('SIGKILL'));
  const read = () => last().split(' ').map(Number) as [number, number];
  const isAhead = (ms: number) => Math.abs(read()[0] - Date.now() - ms) < MINUTE_MS;
  await until(() => last() !== '' && isAhead(0));
  const [, before] = read();
  for (const aheadMs of [-90 * MINUTE_MS, 20 * 24 * 60 * MINUTE_MS, 0]) {
    await clocks.set('a', aheadMs);
    await until(() => isAhead(aheadMs));
    t.ok(Math.abs(read()[1] - before) < 5 * MINUTE_MS);
  }
});

/** What an agent's dial says of a coordinator, with its clock so far ahead. */
async function dialAt(aheadMs: number, port: number): Promise<string> {
  const clock = `dial${aheadMs}`;
  const words = [join(DIST, 'agent/coordinators.js'), join(DIST, 'identity/identity.js'), join(folder, 'h1')];
  const script = `
    const [coordinators, identity, folder] = ${JSON.stringify(words)};
    const { dial } = await import(coordinators);
    const { Identity } = await import(identity);
    while (Math.abs(Date.now() - ${Date.now() + aheadMs}) > ${MINUTE_MS}) await new Promise((done) => setTimeout(done, 20));
    const say = (text) => { console.log(text); process.exit(0); };
    const socket = dial({ host: '127.0.0.1', port: ${port} }, new Identity(folder), () => say('connected'));
    socket.on('error', (error) => say(error.code ?? error.message));`;
  const { child, last } = await start(clock, ['--input-type=module', '-e', script]);
  await clocks.set(clock, aheadMs);
  const ended = new Promise((done) => child.once('exit', done));
  try {
    await within(`a dial with a clock ${aheadMs} ms ahead`, 60_000, ended);
  } finally {
    child.kill('SIGKILL');
  }
  return last();
}

t.test('an agent takes certificates of this moment though its clock is most of an hour behind, or ahead', async (t) => {
  const authority = new Authority(join(folder, 'ca'));
  await authority.init('test');
  await authority.issue('coordinator', 'c1', 1, join(folder, 'c1'));
  await authority.issue('agent', 'h1', 1, join(folder, 'h1'));
  const credentials = new Identity(join(folder, 'c1')).credentials();
  const server = createServer({ ...credentials, requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  t.equal(await dialAt(-55 * MINUTE_MS, port), 'connected');
  t.equal(await dialAt(55 * MINUTE_MS, port), 'connected');
  t.equal(await dialAt(-120 * MINUTE_MS, port), 'CERT_NOT_YET_VALID');
  t.equal(await dialAt(26 * 60 * MINUTE_MS, port), 'CERT_HAS_EXPIRED');
});
