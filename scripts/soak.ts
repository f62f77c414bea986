import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomFrom } from '../coordinator/brain/forecast/random.js';
import { rackProblem, runInOwnNetwork } from './lib/cluster/net-rack.js';
import { quantile } from './lib/demo/recorder.js';
import { soakCluster } from './lib/soak/cluster-soak.js';
import { soak, VICTIMS } from './lib/soak/soak.js';
import { soakState } from './lib/state/state-soak.js';
import { readWords, refuse, wholeNumber } from './lib/words.js';

const USAGE = `usage: scripts/soak [--kills N] [--seed N]
       scripts/soak --hosts N [--hours N | --minutes N] [--seed N]
       scripts/soak state [--handovers N] [--replicas R] [--shards N] [--hosts N] [--seed N]
Kills agent, coordinator, instances, their shims and crun by SIGKILL in the middle of reshaping, and checks after each
kill that within 10 s the host is exactly what was asked for. Exit code 0: it always was.
With --hosts: three members of etcd, three coordinators and N agents in network namespaces, which are killed, stopped, cut
off one-way and both, slowed down, made to lose packets and to run out of disk, whose clocks are set, several at once; all the time and at each
calm it is checked that nothing is double, lost or left over. The same seed gives the same faults.
state: the count of a component with state changes under calls while owners, agents, the coordinator and, with replicas, whole
hosts are killed; what was answered is searched for what no single copy could have answered. R is 1 unless told, and the component has 16 state shards.`;
/** Set within the network namespace of the soak's own switch. */
const IN_NETWORK = 'SHOAL_SOAK_NETWORK';

const { values, positionals } = readWords(USAGE, {
  allowPositionals: true,
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    hosts: { type: 'string' },
    hours: { type: 'string' },
    minutes: { type: 'string', default: '2' },
    handovers: { type: 'string', default: '1000' },
    replicas: { type: 'string', default: '1' },
    shards: { type: 'string', default: '16' },
    help: { type: 'boolean', default: false },
  },
});
const whole = (name: 'kills' | 'seed' | 'handovers' | 'replicas' | 'shards', least: number) =>
  wholeNumber(USAGE, `--${name}`, values[name], least, Number.MAX_SAFE_INTEGER);
const say = (line: string) => process.stdout.write(`${line}\n`);

if (values.help) {
  say(USAGE);
} else if (positionals[0] === 'state') {
  await soakStates();
} else if (values.hosts !== undefined) {
  process.exitCode = await soakHosts(wholeNumber(USAGE, '--hosts', values.hosts, 2, 100));
} else {
  const [kills, seed] = [whole('kills', 1), whole('seed', 0)];
  say(`soak: ${kills} kills, seed ${seed}`);
  const dist = resolve(fileURLToPath(import.meta.url), '../..');
  const done = await soak({ dist, kills, random: randomFrom(seed), said: say });
  for (const victim of VICTIMS) {
    const times = done.filter((each) => each.victim === victim).map((each) => each.convergedMs);
    if (times.length === 0) continue;
    say(
      `${victim.padEnd(11)}  ${times.length} kills, converged p50 ${quantile(times, 0.5).toFixed(0)} ms, max ${Math.max(...times).toFixed(0)} ms`,
    );
  }
  say('soak: it always converged, and nothing was left over');
}

async function soakHosts(hosts: number): Promise<number> {
  const seed = whole('seed', 0);
  const minutes = values.hours === undefined ? Number(values.minutes) : 60 * Number(values.hours);
  if (!(minutes > 0)) refuse(USAGE, '--minutes or --hours must be a number above 0');
  const prefix = process.env[IN_NETWORK];
  if (prefix === undefined) {
    const problem = await rackProblem();
    if (problem !== null) throw new Error(problem);
    // The seed is said again, since the default is of this moment.
    const words = [fileURLToPath(import.meta.url), ...process.argv.slice(2), '--seed', String(seed)];
    return await runInOwnNetwork(`soak${process.pid}`, words, IN_NETWORK);
  }
  say(`soak: ${hosts} hosts, ${minutes} min, seed ${seed}`);
  const dist = resolve(fileURLToPath(import.meta.url), '../..');
  const ended = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ended.abort());
  const random = randomFrom(seed);
  const done = await soakCluster({ dist, hosts, minutes, random, prefix, signal: ended.signal, said: say });
  const worst = Math.max(...done.convergedMs);
  say(
    `soak: ${done.faults} faults, ${done.terms} terms, ${done.acknowledged} acknowledged changes, ${done.restarts} restarts`,
  );
  const { answered, failed, missing, calls } = done;
  say(`soak: ${answered} requests to the demo answered, ${failed} failed, ${missing} searches missed what was lost`);
  say(`soak: ${calls} calls between its instances, none answered twice`);
  say(`soak: as wanted after p50 ${quantile(done.convergedMs, 0.5).toFixed(0)} ms, max ${worst.toFixed(0)} ms`);
  return 0;
}

async function soakStates(): Promise<void> {
  const [handovers, replicas, seed] = [whole('handovers', 1), whole('replicas', 0), whole('seed', 0)];
  const hosts = wholeNumber(USAGE, '--hosts', values.hosts ?? String(replicas + 2), replicas + 1, 100);
  const shards = whole('shards', 1);
  say(`soak: ${handovers} hand-overs of ${shards} state shards, R = ${replicas}, ${hosts} hosts, seed ${seed}`);
  const dist = resolve(fileURLToPath(import.meta.url), '../..');
  const random = randomFrom(seed);
  const options = { dist, hosts, replicas, shards, countMax: 2 * hosts, handovers, random, said: say };
  const { rounds, answered, failed, longestMs, ...done } = await soakState(options);
  const longest = `the longest answer took ${longestMs.toFixed(0)} ms`;
  say(`soak: ${done.handovers} hand-overs in ${rounds} rounds, ${answered} calls answered, ${failed} not, ${longest}`);
  say('soak: every answer could have come from one copy');
}
