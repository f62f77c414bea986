/**
 * State on machines of the virtual rack whose agents use RDMA: owners change under calls, then a machine goes that has owners: in
 * h1, where the coordinator and the caller are. Prints StateByRdma; others are reached by `on`.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { randomFrom } from '../../coordinator/brain/forecast/random.js';
import type { HostView } from '../../protocol/http.js';
import type { CopiesWay } from '../../protocol/link.js';
import { RACK_API, RACK_RUN } from '../../scripts/lib/lab/shoal.js';
import { History } from '../../scripts/lib/state/history.js';
import { StateApp } from '../../scripts/lib/state/state-app.js';
import { STEP_MS_MAX } from './guest.js';

export interface StateByRdma {
  /** How each host sends another one its copies, before one goes. */
  ways: Record<string, CopiesWay>;
  /** State shards that went to an owner on another host. */
  moved: number;
  /** That the host had which went. */
  taken: number;
  answered: number;
  failed: number;
  /** Keys whose calls no single copy could have answered so, with the calls. */
  broken: string[];
  /** Events that say that state was lost. */
  lost: string[];
}

const DIST = fileURLToPath(new URL('../..', import.meta.url));
const SHARDS = 8;
const COUNTS = [2, 1, 2];
const KEYS = Array.from({ length: 8 }, (_, i) => `k${i}`);
/** So few calls that emulated machines have time for all else. */
const PACE = { clients: 2, thinkMs: 50 };
/** Looks at everything hold up a coordinator that is emulated. */
const LOOK_MS = 1_000;
const run = promisify(execFile);

const [hosts = 0, seed = 0] = process.argv.slice(2).map(Number);
const app = new StateApp(
  { dist: DIST, shards: SHARDS, replicas: 1, countMax: Math.max(...COUNTS), cores: 0.5 },
  { api: RACK_API, folder: RACK_RUN, caller: 'h1', answerMs: STEP_MS_MAX, lookMs: LOOK_MS },
);

/** Hosts that serve, by shard. */
async function owners(): Promise<(string | null)[]> {
  const { shards } = await app.component();
  return (shards ?? []).map(({ copies }) => copies?.owner ?? null);
}

function said(step: string): void {
  console.error(`${(performance.now() / 1_000).toFixed(0)} s: ${step}`);
}

await app.connected(hosts, STEP_MS_MAX);
said('connected');
await app.apply(1, STEP_MS_MAX);
await app.replicated(STEP_MS_MAX);
const history = new History(app, randomFrom(seed), PACE);
history.use(KEYS);
history.start();
let moved = 0;
let before = await owners();
for (const count of COUNTS) {
  said(`count ${count}`);
  await app.setCount(count);
  await app.settled(STEP_MS_MAX);
  await app.replicated(STEP_MS_MAX);
  const after = await owners();
  moved += after.filter((host, shard) => host !== before[shard]).length;
  before = after;
}
const ways: StateByRdma['ways'] = {};
for (const { name, connections } of await app.get<HostView[]>('/v1/hosts'))
  for (const { host, copies } of connections ?? []) if (copies !== undefined) ways[`${name} to ${host}`] = copies;

const gone = before.find((host) => host !== 'h1' && host !== null);
if (gone === undefined || gone === null) throw new Error(`all owners are on h1: ${before}`);
said(`${gone} goes`);
// The machine says nothing any more.
await run('on', [gone, 'sh', '-c', 'echo o >/proc/sysrq-trigger; sleep 60']).catch((error: Error) =>
  said(error.message),
);
const isServed = async () => (await owners()).every((host) => host !== null && host !== gone);
await app.until(`others serve what ${gone} has served`, isServed, STEP_MS_MAX);
said('served');
await history.stop();
await history.readAll();
const lost = (await app.events()).filter(({ kind }) => kind === 'state-lost').map(({ message }) => message);
const broken = history.broken().map((key) => `${key}:\n${history.of(key)}`);
const taken = before.filter((host) => host === gone).length;
const { answered, failed } = history;
app.hangUp();
console.log(JSON.stringify({ ways, moved, taken, answered, failed, broken, lost } satisfies StateByRdma));
