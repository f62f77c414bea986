/**
 * Runs instances against their limits on the Shoal of this machine, in place of what runs there: limits-peer RUN. One serves,
 * and is asked all the time, while another takes memory without end, while a third forks without end, and while it is resized
 * over and over. Prints what became of them as JSON.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cgroup } from '../../agent/cgroup.js';
import { Paths } from '../../agent/paths.js';
import { resizeInPlace } from '../../agent/resize.js';
import type { EventView } from '../../protocol/http.js';
import { PRESENT, resizeOften, SERVER, underLoad } from '../../scripts/lib/bench/resize-load.js';
import { retry } from '../../scripts/lib/until.js';

/** What became of the requests to the one that serves. */
export interface Asked {
  answered: number;
  /** Why others were not. */
  why: string[];
  lost: number;
}

export interface LimitsTried {
  hog: Asked & {
    /** Why its process has ended. */
    end: string;
  };
  forker: Asked & {
    /** Processes that it had when it was refused more. */
    processes: number;
  };
  resizes: Asked & {
    done: number;
    /** Why a size below what is in use was not set. */
    refused: string | null;
  };
  /** The one that serves. */
  served: { memoryKills: number; isSameProcess: boolean };
}

const API = 'http://127.0.0.1:7946/v1';
const STEP_MS_MAX = 180_000;
const MIB = 2 ** 20;
const RESIZES = 300;
const PORT = 8080;
const LOOK_MS = 200;
/** So that there is always somebody who asks, with CPU left for all the rest. */
const LOAD = { clients: 2, restMs: 50 };
const TOO_SMALL_BYTES = 8 * MIB;
/** Children stay; a refusal is said, and tried again a second later. */
const BOMB = `
$| = 1;
while (1) {
  my $pid = fork;
  if (!defined $pid) { print "refused\\n"; sleep 1 }
  elsif ($pid == 0) { sleep }
}`;
const SERVED = {
  rootfs: 'host',
  command: ['node', '-e', SERVER],
  count: 1,
  size: { cpu: PRESENT.cpu, memory: `${PRESENT.memory / MIB}Mi` },
  ports: [{ name: 'http', host: PORT }],
};
const HOG = { rootfs: 'host', command: ['tail', '/dev/zero'], count: 1, size: { cpu: 0.5, memory: '32Mi' } };
/** With memory for as many processes as it may have. */
const FORKER = { rootfs: 'host', command: ['perl', '-e', BOMB], count: 1, size: { cpu: 0.5, memory: '256Mi' } };

const [run = ''] = process.argv.slice(2);
const paths = new Paths(run);
const served = new Cgroup(paths.cgroup('lab-served-0'));

async function ask(method: string, path: string, body?: object): Promise<string> {
  const init =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(`${API}${path}`, { method, ...init });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text;
}

function apply(components: object): Promise<string> {
  return ask('PUT', '/apps/lab', { app: 'lab', components });
}

/** The first event of that kind that an instance of the component has had: where all is slow it may be the second one. */
function firstEvent(component: string, kind: string): Promise<EventView> {
  const find = async () => {
    const events = JSON.parse(await ask('GET', '/events')) as EventView[];
    const found = events.find((event) => event.component === component && event.kind === kind && event.instance !== '');
    if (found === undefined) throw new Error(JSON.stringify(events.map((event) => [event.instance, event.message])));
    return found;
  };
  return retry(`${component} ${kind}`, STEP_MS_MAX, find, LOOK_MS);
}

async function numberIn(cgroup: Cgroup, file: string, pattern: RegExp): Promise<number> {
  return Number(pattern.exec(await readFile(join(cgroup.path, file), 'utf8'))?.[1]);
}

async function meanwhile<T>(during: () => Promise<T>): Promise<Asked & T> {
  let result: T | undefined;
  const asking = async () => {
    result = await during();
  };
  const { latencies, lost, why } = await underLoad(PORT, asking, LOAD);
  return { ...(result as T), answered: latencies.length - lost, lost, why };
}

async function forkUntilRefused(): Promise<number> {
  const { instance } = await firstEvent('forker', 'ready');
  const look = async () => {
    const log = await ask('GET', `/instances/${instance}/logs`);
    if (!log.includes('refused')) throw new Error(`it has said ${log}`);
  };
  await retry('refused', STEP_MS_MAX, look, LOOK_MS);
  return numberIn(new Cgroup(paths.cgroup(instance)), 'pids.current', /(\d+)/);
}

async function resizeManyTimes(): Promise<{ done: number; refused: string | null }> {
  const taken: number[] = [];
  const present = await resizeOften(served, RESIZES, taken);
  const { refused } = await resizeInPlace(served, present, { ...present, memory: TOO_SMALL_BYTES });
  return { done: taken.length, refused };
}

await apply({ served: SERVED });
await firstEvent('served', 'ready');
await retry('it answers', STEP_MS_MAX, () => fetch(`http://127.0.0.1:${PORT}`), LOOK_MS);
const [pid] = await served.pids();
const tried: LimitsTried = {
  hog: await meanwhile(async () => {
    await apply({ served: SERVED, hog: HOG });
    return { end: (await firstEvent('hog', 'exited')).message };
  }),
  forker: await meanwhile(async () => {
    await apply({ served: SERVED, forker: FORKER });
    return { processes: await forkUntilRefused() };
  }),
  resizes: await meanwhile(resizeManyTimes),
  served: {
    memoryKills: await numberIn(served, 'memory.events', /^oom_kill (\d+)$/m),
    isSameProcess: pid !== undefined && (await served.pids()).includes(pid),
  },
};
process.stdout.write(JSON.stringify(tried));
