import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fabricArguments } from '../../cli/fabric-options.js';
import type { Io } from '../../cli/io.js';
import { PLAIN } from '../../cli/render/paint.js';
import { addressOf, parseListen } from '../../cli/up/listen.js';
import { runUp, type UpOptions } from '../../cli/up/run.js';
import { NO_STREAMS, runCli } from './run-cli.js';

/** Answers as a coordinator does; the host is connected while its agent's file is there. */
const COORDINATOR = `
import { createServer } from 'node:http';
import { existsSync } from 'node:fs';
const arg = (name) => process.argv[process.argv.indexOf(name) + 1];
const [host, port] = arg('--listen').split(':');
const server = createServer((request, response) => {
  const hosts = [{ name: 'rack1', connected: existsSync(arg('--run') + '/agent.pid') }];
  response.end(request.url === '/healthz' ? 'ok' : JSON.stringify(hosts));
}).listen(Number(port), host, () => console.error(JSON.stringify({ level: 30, time: 0, msg: 'args ' + process.argv.slice(2).join(' ') })));
process.on('SIGTERM', () => { console.log('coordinator says bye'); server.closeAllConnections(); server.close(); });
`;
const AGENT = `
import { rmSync, writeFileSync } from 'node:fs';
const arg = (name) => process.argv[process.argv.indexOf(name) + 1];
const file = arg('--run') + '/agent.pid';
writeFileSync(file, String(process.pid));
console.log('agent args ' + process.argv.slice(2).join(' '));
const timer = setInterval(() => {}, 1000);
process.on('SIGTERM', () => { rmSync(file); console.log('agent says bye'); clearInterval(timer); });
`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Run {
  options: UpOptions;
  out: () => string;
  err: () => string;
  stop: AbortController;
  /** Resolves when the text was printed, to either. */
  printed: (text: string, times?: number) => Promise<void>;
}

async function prepare(
  t: Test,
  scripts: { coordinator?: string; agent?: string },
  more: Partial<UpOptions> = {},
): Promise<Run> {
  const folder = t.testdir({
    'coordinator.mjs': scripts.coordinator ?? COORDINATOR,
    'agent.mjs': scripts.agent ?? AGENT,
  });
  const stop = new AbortController();
  const text = { out: '', err: '' };
  const waiting = new Set<() => void>();
  const write = (to: 'out' | 'err') => (part: string) => {
    text[to] += part;
    for (const wake of waiting) wake();
  };
  const io: Io = {
    out: write('out'),
    err: write('err'),
    env: {},
    terminal: false,
    paint: PLAIN,
    size: () => ({ width: 120, height: 50 }),
    streams: NO_STREAMS,
  };
  const printed = (wanted: string, times = 1): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (`${text.out}${text.err}`.split(wanted).length <= times) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const options: UpOptions = {
    io,
    signal: stop.signal,
    json: false,
    data: join(folder, 'data'),
    run: join(folder, 'run'),
    listen: `127.0.0.1:${await freePort()}`,
    name: 'rack1',
    down: false,
    scripts: { coordinator: join(folder, 'coordinator.mjs'), agent: join(folder, 'agent.mjs') },
    ...more,
  };
  return { options, out: () => text.out, err: () => text.err, stop, printed };
}

t.test('starts both, says where it is, prefixes their logs, stops the agent before the coordinator', async (t) => {
  const run = await prepare(t, {});
  const { listen, data } = run.options;
  const done = runUp(run.options);
  await run.printed('shoal is up');
  t.match(run.out(), `shoal is up at http://${listen}, host rack1 is connected`);
  const socket = join(run.options.run, 'coordinator.sock');
  await run.printed(`info  args --data ${data} --socket ${socket} --listen ${listen} --run ${run.options.run}\n`);
  await run.printed(`agent       | agent args --socket ${socket} --run ${run.options.run} --name rack1\n`);
  run.stop.abort();
  await done;
  t.match(run.out(), 'stopped; instances go on');
  t.match(run.err(), /agent says bye\n[\s\S]*coordinator \| coordinator says bye/);
});

t.test('--down, --token-file and --json', async (t) => {
  const run = await prepare(t, {}, { down: true, json: true });
  const tokenFile = join(run.options.scripts.agent, '..', 'token');
  writeFileSync(tokenFile, 'secret');
  const done = runUp({ ...run.options, tokenFile });
  await run.printed('"ready": true');
  await run.printed(`--run ${run.options.run} --token-file ${tokenFile}`);
  await run.printed('--name rack1 --stop-instances');
  run.stop.abort();
  await done;
  t.match(run.out(), '"instancesKept":false');
  for (const line of run.err().trim().split('\n')) t.match(JSON.parse(line), { from: String, line: String });
});

t.test('labels and taints reach the agent', async (t) => {
  const run = await prepare(t, {}, { labels: ['disk=ssd', 'zone=rack-3'], taints: ['-odd'] });
  const done = runUp(run.options);
  await run.printed('--name rack1 --label=disk=ssd --label=zone=rack-3 --taint=-odd');
  run.stop.abort();
  await done;
});

t.test('how other hosts reach this one is told to the agent, and an address that is none is refused', async (t) => {
  const run = await prepare(t, {}, { fabric: fabricArguments({ fabric: '10.0.0.2:7948', fabricPlain: true }) });
  const done = runUp(run.options);
  await run.printed('--name rack1 --fabric 10.0.0.2:7948 --fabric-plain');
  run.stop.abort();
  await done;

  t.same(fabricArguments({}), []);
  t.same(fabricArguments({ fabric: '[fd00::2]:7948' }), ['--fabric', '[fd00::2]:7948']);
  for (const fabric of ['', 'host:7948', '10.0.0.2', '10.0.0.2:', '10.0.0.2:7948 --name x', '10.0.0.2:794800'])
    t.throws(() => fabricArguments({ fabric }), { code: 'SHOAL_E_USAGE', message: /--fabric must be/ }, fabric);
  for (const command of [
    ['up', '--data', run.options.data],
    ['join', 'https://127.0.0.1:1'],
  ]) {
    const env = { SHOAL_JOIN_TOKEN: 'none' };
    const { code, err } = await runCli([...command, '--fabric', 'nowhere'], { env });
    t.equal(code, 2, command.join(' '));
    t.match(err, '--fabric must be ADDRESS:PORT', command.join(' '));
  }
});

t.test('a child that dies is started again', async (t) => {
  const run = await prepare(t, {});
  const done = runUp(run.options);
  await run.printed('shoal is up');
  const file = join(run.options.run, 'agent.pid');
  process.kill(Number(readFileSync(file, 'utf8')), 'SIGKILL');
  await run.printed('agent ended (SIGKILL); started again in 250 ms');
  await run.printed('agent args', 2);
  run.stop.abort();
  await done;
});

t.test('a child that can never run here ends it all, the other one too', async (t) => {
  const run = await prepare(t, { agent: 'console.error("no cgroup"); process.exitCode = 6;' });
  await t.rejects(runUp(run.options), { code: 'SHOAL_E_HOST', message: /the agent cannot run here/ });
  t.match(run.err(), 'no cgroup');
});

t.test('an address that is taken is refused before anything starts', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const run = await prepare(t, {}, { listen: `127.0.0.1:${port}` });
  await t.rejects(runUp(run.options), { code: 'SHOAL_E_CONFLICT', message: /--listen/ });
  t.notOk(existsSync(run.options.run));
});

t.test('listen addresses', async (t) => {
  t.strictSame(parseListen('127.0.0.1:80'), { host: '127.0.0.1', port: 80 });
  t.equal(addressOf(parseListen('[::1]:80')), 'http://[::1]:80');
  t.equal(addressOf(parseListen('0.0.0.0:80')), 'http://127.0.0.1:80');
  t.equal(addressOf(parseListen('[::]:80')), 'http://[::1]:80');
  for (const bad of ['80', ':80', 'a:', 'a:0', 'a:65536', 'a:b', '::1:80', 'http://a:80']) {
    t.throws(() => parseListen(bad), { code: 'SHOAL_E_USAGE' }, bad);
  }
});
