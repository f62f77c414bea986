import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Probe, ProbeAsks } from '../../protocol/manifest.js';
import { AgentRig, component, instance, runs } from './rig.js';

function probe(asks: ProbeAsks, change: Partial<Probe> = {}): Probe {
  return { asks, everyMs: 100, timeoutMs: 2_000, failures: 2, ...change };
}

/** Listens on its port; /ready answers 503 at first, /alive 500 after somebody has asked for /break, which hangs. */
const SERVER = `
let asked = 0, broken = false;
require('http').createServer((request, response) => {
  if (request.url === '/break') broken = true;
  response.statusCode = request.url === '/ready' && asked++ < 3 ? 503 : request.url === '/alive' && broken ? 500 : 200;
  response.end();
}).listen('/run/shoal/http.sock');
setTimeout(() => { broken = true }, 1500);`;

t.test('ready when the probe succeeds; not alive: killed, told and started anew', async (t) => {
  const rig = await AgentRig.make();
  const ports = [{ name: 'http', host: 18_391 }];
  const server = { command: ['node', '-e', SERVER], ports };
  const apps = {
    t: {
      http: component('x', {
        ...server,
        ready: probe({ kind: 'http', path: '/ready', port: 'http' }),
        alive: probe({ kind: 'http', path: '/alive', port: 'http' }),
      }),
      exec: component('x', {
        command: ['sh', '-c', 'sleep 1; touch /tmp/ready; sleep 1000'],
        ready: probe({ kind: 'exec', command: ['test', '-e', '/tmp/ready'] }),
      }),
      tcp: component('x', { command: ['sh', '-c', 'sleep 1000'], ready: probe({ kind: 'tcp', port: 'http' }) }),
      fabric: component('store', { alive: probe({ kind: 'fabric' }) }),
    },
  };
  rig.desire(() => ({ apps, instances: Object.keys(apps.t).map((name) => instance(name, 0)) }));
  const phase = (name: string) => rig.status(`t-${name}-0`)?.phase;
  await rig.until(
    'what can be ready is',
    () => ['http', 'exec', 'fabric'].every((name) => phase(name) === 'ready'),
    40_000,
  );
  t.equal(phase('tcp'), 'starting', 'nothing listens');
  t.ok((rig.status('t-exec-0')?.startMs ?? 0) >= 1_000);
  await rig.until('the broken one is started anew', () => (rig.status('t-http-0')?.restarts ?? 0) > 0, 40_000);
  t.match(rig.events.find(({ kind }) => kind === 'not-alive')?.message, /GET \/alive answers 500, 2 times in a row/);
  t.match(rig.status('t-http-0')?.exit?.reason, /not alive: GET \/alive answers 500/);
  t.equal(rig.status('t-fabric-0')?.restarts, 0, 'who answers is left alone');
  t.same(await rig.close(), []);
});

t.test('a command that does not end is ended, and a loop of crashes is told with its cause', async (t) => {
  const rig = await AgentRig.make();
  const apps = {
    t: {
      hangs: component('x', {
        command: ['sh', '-c', 'sleep 1000'],
        alive: probe({ kind: 'exec', command: ['sleep', '999'] }, { timeoutMs: 200, failures: 2 }),
      }),
      loops: component('x', { command: ['sh', '-c', 'echo no configuration >&2; exit 9'] }),
    },
  };
  rig.desire(() => ({ apps, instances: [instance('hangs', 0), instance('loops', 0)] }));
  const told = (kind: string) => rig.events.find((each) => each.kind === kind);
  await rig.until('it is not alive', () => told('not-alive') !== undefined, 40_000);
  t.match(told('not-alive')?.message, /sleep did not end within 200 ms/);
  await rig.until('the loop is told', () => told('crash-loop') !== undefined, 40_000);
  t.match(told('crash-loop'), {
    instance: 't-loops-0',
    message: /ended 5 times in a row.*code 9.*shoal logs t-loops-0/,
  });
  const pid = rig.status('t-hangs-0')?.pid ?? 0;
  t.match(await readFile(join(rig.run, 'instances/t-loops-0/log'), 'utf8'), /no configuration/);
  t.same(await rig.close(), []);
  t.notOk(await runs(pid));
});

t.test('a command that runs when the agent is killed is ended by the next one, which removes its folder', async (t) => {
  const rig = await AgentRig.make();
  // No other process of this machine sleeps for just so long.
  const command = ['sleep', String(800_000 + process.pid)];
  const alive = probe({ kind: 'exec', command }, { timeoutMs: 60_000 });
  const asked = component('x', { command: ['sh', '-c', 'sleep 1000'], alive });
  rig.desire(() => ({ apps: { t: { asked } }, instances: [instance('asked', 0)] }));
  await rig.until('the command runs', async () => (await pidsOf(command)).length === 1);
  const [former] = await pidsOf(command);
  const folders = async () =>
    (await readdir(join(rig.run, 'instances/t-asked-0'))).filter((name) => name.startsWith('command-'));
  const [left] = await folders();
  t.type(left, 'string');
  await rig.killAgent('SIGKILL');
  rig.startAgent();
  await rig.until('its folder is removed', async () => !(await folders()).includes(left as string));
  t.notOk((await pidsOf(command)).includes(former as number));
  t.same(await rig.close(), []);
});

async function pidsOf(command: readonly string[]): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_, at) => commands[at] === `${command.join('\0')}\0`).map(Number);
}
