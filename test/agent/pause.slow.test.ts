import { readFile } from 'node:fs/promises';
import { get } from 'node:http';
import t from 'tap';
import type { Probe } from '../../protocol/manifest.js';
import { AgentRig, component, instance } from './rig.js';

const PORT = 18_393;

/** /ready answers 503 to the questions from the sixth to the twelfth. */
const SERVER = `
let asked = 0;
process.on('SIGTERM', () => process.exit(0));
require('http').createServer((request, response) => {
  if (request.url === '/ready') asked += 1;
  response.statusCode = request.url === '/ready' && asked > 5 && asked <= 12 ? 503 : 200;
  response.end();
}).listen('/run/shoal/http.sock');`;

function http(path: string, failures: number): Probe {
  return { asks: { kind: 'http', path, port: 'http' }, everyMs: 100, timeoutMs: 500, failures };
}

t.test('a paused instance stands still, is left alone by probes and goes on where it was', async (t) => {
  const rig = await AgentRig.make();
  const web = component('x', {
    command: ['node', '-e', SERVER.replace('asked > 5', 'false')],
    ports: [{ name: 'http', host: PORT }],
    ready: http('/ready', 2),
    alive: http('/alive', 2),
  });
  rig.desire(() => ({ apps: { t: { web } }, instances: [instance('web', 0)] }));
  const phase = () => rig.status('t-web-0')?.phase;
  const pause = (paused: boolean) => rig.desire(() => ({ instances: [instance('web', 0, { paused })] }));
  await rig.until('it is ready', () => phase() === 'ready');
  const pid = rig.status('t-web-0')?.pid;
  pause(true);
  await rig.until('it is frozen', () => rig.events.some(({ kind }) => kind === 'paused'));
  await rig.until('that is told', () => phase() === 'paused');
  const used = await cpuTicks(pid);
  const reports = rig.reports;
  await rig.until('several probes would have failed', () => rig.reports > reports + 4);
  t.equal(await cpuTicks(pid), used, 'it stands still');

  await rig.killAgent('SIGKILL');
  rig.statuses = [];
  rig.startAgent();
  await rig.until('a new agent finds it so', () => phase() === 'paused');
  pause(false);
  await rig.until('it goes on', () => phase() === 'ready');
  await rig.until('it serves', () => answers(PORT));
  t.match(rig.status('t-web-0'), { pid, restarts: 0 });

  pause(true);
  await rig.until('it is paused again', () => phase() === 'paused');
  t.same(await rig.close(), [], 'and ends in good order');
  t.notOk(rig.events.some(({ kind }) => kind === 'killed'));
});

t.test('one that is no longer ready gets no calls until it is again, and is not started anew', async (t) => {
  const rig = await AgentRig.make();
  const ports = [{ name: 'http', host: PORT }];
  const web = component('x', { command: ['node', '-e', SERVER], ports, ready: http('/ready', 2) });
  rig.desire(() => ({ apps: { t: { web } }, instances: [instance('web', 0)] }));
  const phase = () => rig.status('t-web-0')?.phase;
  await rig.until('it is ready', () => phase() === 'ready');
  await rig.until('it is not', () => phase() === 'unready');
  t.match(rig.events.find(({ kind }) => kind === 'unready')?.message, /GET \/ready answers 503, 2 times in a row/);
  await rig.until('it is again', () => phase() === 'ready');
  t.ok(rig.events.some(({ kind }) => kind === 'ready-again'));
  t.equal(rig.status('t-web-0')?.restarts, 0);
  t.same(await rig.close(), []);
});

async function cpuTicks(pid: number | undefined): Promise<string> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return fields.slice(11, 13).join(' ');
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port, path: '/', agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(false));
  });
}
