import { cpus, release, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isIsolated, mountedAt, runIsolated } from '../agent/isolate.js';
import { native } from '../native/index.js';
import { benchAgent } from './lib/bench/agent.js';
import { benchBrainForecast } from './lib/bench/brain-forecast.js';
import { benchBrainMade } from './lib/bench/brain-made.js';
import { benchBrainOnline } from './lib/bench/brain-online.js';
import { benchBrainScale } from './lib/bench/brain-scale.js';
import { benchBrainScaling } from './lib/bench/brain-scaling.js';
import { AGENTS, benchClusterAgents, benchClusterHosts, HOSTS } from './lib/bench/cluster.js';
import { benchFabric } from './lib/bench/fabric.js';
import { benchFabricCalls } from './lib/bench/fabric-calls.js';
import { benchFabricHosts } from './lib/bench/fabric-hosts.js';
import { benchFabricIdle } from './lib/bench/fabric-idle.js';
import { benchFabricRack } from './lib/bench/fabric-rack.js';
import { benchFactory, STARTS } from './lib/bench/factory.js';
import { benchFactoryIdle } from './lib/bench/factory-idle.js';
import { benchFactoryRack, STARTS_RACK } from './lib/bench/factory-rack.js';
import { benchFailover } from './lib/bench/failover.js';
import { benchProfiler } from './lib/bench/profiler.js';
import { benchProfilerCost } from './lib/bench/profiler-cost.js';
import { type Row, renderRows } from './lib/bench/rows.js';
import { benchStart } from './lib/bench/start.js';
import { benchState } from './lib/bench/state.js';
import { benchStateCache } from './lib/bench/state-cache.js';
import { benchStateFull } from './lib/bench/state-full.js';
import { benchStateHandover } from './lib/bench/state-handover.js';
import { benchStateLoss } from './lib/bench/state-loss.js';
import { benchStateRack, HOSTS_RACK } from './lib/bench/state-rack.js';
import { benchStateReplicated } from './lib/bench/state-replicated.js';
import { readWords } from './lib/words.js';

const DIST = resolve(fileURLToPath(import.meta.url), '../..');
interface Options {
  traces?: string;
  slowSeries?: number | 'all';
  seeds?: number;
  scale?: number;
  count?: number;
  hosts?: number;
}
const BENCHES: Record<string, (options: Options) => Promise<Row[]>> = {
  start: () => benchStart(DIST),
  factory: ({ count = STARTS }) => benchFactory(DIST, count),
  'factory-rack': ({ count = STARTS_RACK }) => benchFactoryRack(count),
  'factory-idle': ({ count = 1_000 }) => benchFactoryIdle(DIST, count),
  agent: () => benchAgent(DIST),
  profiler: async () => [...(await benchProfiler()), ...(await benchProfilerCost())],
  fabric: () => benchFabric(),
  'cluster-agents': ({ hosts = AGENTS }) => benchClusterAgents(DIST, hosts),
  'cluster-rest': ({ hosts = HOSTS }) => benchClusterHosts(DIST, hosts, 0, 0),
  'cluster-cut': ({ hosts = HOSTS, count = 35 }) => benchClusterHosts(DIST, hosts, count, 0),
  'cluster-kill': ({ hosts = HOSTS, count = 35 }) => benchClusterHosts(DIST, hosts, 0, count),
  failover: ({ count = 100 }) => benchFailover(count),
  'fabric-calls': () => benchFabricCalls(DIST),
  'fabric-hosts': () => benchFabricHosts(),
  'fabric-idle': () => benchFabricIdle(),
  'fabric-rack': () => benchFabricRack(),
  'brain-scale': () => benchBrainScale(),
  'brain-forecast': (options) => benchBrainForecast(DIST, options),
  'brain-online': () => benchBrainOnline(),
  'brain-scaling': (options) => benchBrainScaling(options),
  'brain-made': (options) => benchBrainMade(options),
  state: () => benchState(DIST),
  'state-cache': () => benchStateCache(),
  'state-full': () => benchStateFull(),
  'state-replicated': () => benchStateReplicated(DIST),
  'state-handover': () => benchStateHandover(DIST),
  'state-loss': () => benchStateLoss(DIST),
  'state-rack': ({ hosts = HOSTS_RACK }) => benchStateRack(hosts),
};
/** `scripts/bench brain` and `scripts/bench cluster` run all of theirs. */
const GROUPS: Record<string, string[]> = {
  brain: Object.keys(BENCHES).filter((name) => name.startsWith('brain-')),
  cluster: Object.keys(BENCHES).filter((name) => name.startsWith('cluster-')),
};
const USAGE = `usage: scripts/bench NAME… [--json] [--traces DIR] [--series N|all] [--seeds N] [--scale N] [--count N] [--hosts N] [--quick]
Prints figures next to a peer's, measured in the same run. NAME: ${Object.keys(BENCHES).join(', ')}, brain, cluster, all
--traces DIR    folder of real traces, for the benchmarks that need them (default: $SHOAL_TRACES)
--series N|all  brain-forecast: how many series the slow peers forecast (default: 12)
--seeds N       brain-scaling, brain-made: so many draws of the requests, each on another day (default: 2)
--scale N       brain-scaling, brain-made: only at so many instances (default: 2, 20 and 200)
--count N       failover: how often the leader is killed (default: 100); cluster-cut, cluster-kill: how often it is
                cut off or killed (default: 35); factory-idle: instances (default: 1000); factory, factory-rack: starts
                of each kind (default: 40 and 5)
--hosts N       cluster-rest, cluster-cut, cluster-kill: hosts with an agent (default: 20); cluster-agents: simulated
                agents of one leader (default: 1000); state-rack: machines, 2 to 4 (default: 2)
--quick         brain-scaling, brain-made, factory, profiler, state, state-full, state-handover, state-loss,
                state-replicated: less of it`;

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const { values, positionals: asked } = readWords(USAGE, {
    args: words,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      traces: { type: 'string' },
      series: { type: 'string' },
      seeds: { type: 'string' },
      scale: { type: 'string' },
      count: { type: 'string' },
      hosts: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const { json, traces, series, seeds, scale, count, hosts, quick } = values;
  if (traces !== undefined) process.env.SHOAL_TRACES = traces;
  if (quick) process.env.SHOAL_BENCH_QUICK = '1';
  const options: Options = {
    ...(traces === undefined ? {} : { traces }),
    ...(series === undefined ? {} : { slowSeries: series === 'all' ? 'all' : Number(series) }),
    ...(seeds === undefined ? {} : { seeds: Number(seeds) }),
    ...(scale === undefined ? {} : { scale: Number(scale) }),
    ...(count === undefined ? {} : { count: Number(count) }),
    ...(hosts === undefined ? {} : { hosts: Number(hosts) }),
  };
  const names = asked.includes('all')
    ? Object.keys(BENCHES)
    : asked.flatMap((name) => (Object.hasOwn(GROUPS, name) ? (GROUPS[name] ?? []) : [name]));
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  const badCount = [series === 'all' ? '1' : series, seeds, scale, count, hosts].some(
    (text) => text !== undefined && !/^[1-9][0-9]*$/.test(text),
  );
  if (names.length === 0 || unknown.length > 0 || badCount) {
    process.stderr.write(`${unknown.map((name) => `unknown benchmark ${name}\n`).join('')}${USAGE}\n`);
    return 2;
  }
  // crun needs cgroup v2 where it looks for it, also on hosts that have version 1 there.
  if (!isIsolated()) return runIsolated(fileURLToPath(import.meta.url), words);
  if (mountedAt('/sys/fs/cgroup') !== 'cgroup2') native.mountCgroup2('/sys/fs/cgroup');
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`;
  if (!json) process.stdout.write(`${machine}\n`);
  for (const name of names) {
    const rows = await (BENCHES[name] as (options: Options) => Promise<Row[]>)(options);
    if (json) for (const row of rows) process.stdout.write(`${JSON.stringify({ bench: name, machine, ...row })}\n`);
    else process.stdout.write(`\n${name}\n\n${renderRows(rows).join('\n')}\n`);
  }
  return 0;
}

process.exit(await main());
