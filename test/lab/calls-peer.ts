/**
 * Calls of the SDK between two machines of the virtual rack, whose agents use RDMA, while it goes away and comes back and an
 * agent is killed: calls-peer FOLDER, on h1, where the coordinator is. Prints what came of it; h2 is reached by `on`.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { HostView } from '../../protocol/http.js';
import type { HostConnection } from '../../protocol/link.js';
import { retry } from '../../scripts/lib/until.js';
import { CALLER_PORT, ledgerApp, type Outcomes, type Streams } from '../agent/ledger-app.js';
import { STEP_MS_MAX } from './guest.js';

export interface CallsByRdma {
  /** As h1 says it, at each step. */
  connections: Record<string, HostConnection>;
  /** Before all faults, and after them. */
  streams: Streams[];
  outcomes: Outcomes;
}

const API = 'http://127.0.0.1:7946';
const LOOK_MS = 500;
/**
 * All that comes in as RoCE v2, which is UDP to this port. The cards and their ports seem to be well meanwhile. Not what goes
 * out: soft-RoCE would try that again at once and without end, until the emulated machine does nothing else.
 */
const LOSE_ROCE =
  'tc filter add dev eth0 ingress protocol ip u32 match ip protocol 17 0xff match ip dport 4791 0xffff action drop';
/** More than can have been under way. */
const MORE = 50;
const run = promisify(execFile);

async function ask<T>(url: string, request: RequestInit = {}): Promise<T> {
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(STEP_MS_MAX) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

const caller = <T = Outcomes>(path: string) => ask<T>(`http://127.0.0.1:${CALLER_PORT}${path}`);
const eventually = <T>(what: string, check: () => Promise<T>) => retry(what, STEP_MS_MAX, check, LOOK_MS);
const on = (host: string, script: string) => run('on', [host, 'sh', '-c', script]);

const connections: CallsByRdma['connections'] = {};

async function goesBy(by: HostConnection['carrier'], when: string): Promise<HostConnection> {
  return eventually(`by ${by} ${when}`, async () => {
    const hosts = await ask<HostView[]>(`${API}/v1/hosts`);
    const [connection] = hosts.find(({ name }) => name === 'h1')?.connections ?? [];
    if (connection?.carrier !== by) throw new Error(JSON.stringify(connection));
    return connection;
  });
}

async function areAnswered(when: string): Promise<void> {
  const before = await caller('/');
  await eventually(`answered ${when}`, async () => {
    const now = await caller('/');
    if (now.answered < before.answered + MORE) throw new Error(JSON.stringify(now));
  });
}

/** From now on calls go that way, and are answered. */
async function callsGo(by: HostConnection['carrier'], when: string): Promise<void> {
  connections[when] = await goesBy(by, when);
  await areAnswered(when);
}

await eventually('hosts connected', async () => {
  const hosts = await ask<HostView[]>(`${API}/v1/hosts`);
  if (hosts.filter(({ connected }) => connected).length !== 2) throw new Error(JSON.stringify(hosts));
});
const headers = { 'content-type': 'application/json' };
await ask(`${API}/v1/apps/t`, { method: 'PUT', body: JSON.stringify(ledgerApp('h1', 'h2')), headers });
await eventually('calling', () => caller('/start'));
await callsGo('verbs', 'at first');
const streams = [await caller<Streams>('/streams')];
for (const host of ['h2', 'h1']) {
  await on(host, `tc qdisc add dev eth0 clsact && ${LOSE_ROCE}`);
  await callsGo('tcp', `while ${host} loses packets of RDMA`);
  await on(host, 'tc qdisc del dev eth0 clsact');
  await callsGo('verbs', `after ${host} lost packets of RDMA`);
}
await on('h2', "pkill -KILL -f '^[^ ]*node [^ ]*/agent/main.js '");
// Until then what h1 says of the connection may be of before.
await areAnswered('after the agent of h2 was killed');
await callsGo('verbs', 'after the agent of h2 was killed');
streams.push(await caller<Streams>('/streams'));
const outcomes = await caller('/stop');
console.log(JSON.stringify({ connections, streams, outcomes } satisfies CallsByRdma));
