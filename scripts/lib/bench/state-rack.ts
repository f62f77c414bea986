import { join } from 'node:path';
import { bootRack, CHECKOUT } from '../lab/rack.js';
import { startShoalInRack } from '../lab/shoal.js';
import { handoverRows, peer } from './handover-rows.js';
import { alone, type Row } from './rows.js';
import type { RackMeasured, RackPlan } from './state-rack-peer.js';

const PEER = join(CHECKOUT, 'dist/scripts/lib/bench/state-rack-peer.js');
/** What two cores carry when they emulate the machines. */
export const HOSTS_RACK = 2;
/** Emulated machines carry so much: each instance has a core, each call takes milliseconds. */
const PLAN = {
  shards: 64,
  keys: 2_048,
  valueBytes: 4_096,
  rate: 25,
  warmUpCounts: [],
  counts: [2, 4, 1],
  stepMs: 180_000,
};
const CPUS = 2;
const MEMORY_MIB = 1_536;
const BOOT_MS_MAX = 120_000;
/** All but booting. */
const BENCH_MS_MAX = 450_000;

/**
 * State in shards on machines of the virtual rack, whose owners' count changes under a steady load: the hosts have kernels and
 * clocks of their own and copy by verbs of soft-RoCE. With three machines or more each shard has a replica; with two none, so that
 * there is a host to move it to. Emulated, so no time of it says what hardware would take.
 */
export async function benchStateRack(hosts: number): Promise<Row[]> {
  const plan: RackPlan = { ...PLAN, hosts, replicas: hosts > 2 ? 1 : 0 };
  const rack = await bootRack({ hosts, cpus: CPUS, memoryMib: MEMORY_MIB, bootMs: BOOT_MS_MAX });
  try {
    // The caller's host has state as well.
    const labelsOf = (host: string) => (host === 'h1' ? ['state=yes', 'caller=yes'] : ['state=yes']);
    const told = await startShoalInRack(rack, labelsOf, BENCH_MS_MAX);
    const onOutput = (stream: string, text: string) => stream === 'stderr' && process.stderr.write(text);
    const words = ['node', PEER, JSON.stringify(plan)];
    const { code, stdout, stderr } = await rack.run('h1', words, { timeMs: BENCH_MS_MAX, onOutput });
    if (code !== 0) throw new Error(`the bench in h1 ended with ${code}: ${stderr}\n${told()}`);
    return rowsOf(plan, JSON.parse(stdout) as RackMeasured);
  } finally {
    await rack.stop();
  }
}

function rowsOf(plan: RackPlan, measured: RackMeasured): Row[] {
  const { looks, byRdma } = measured;
  const ways = {
    ...alone('a host copies to another one by verbs', 'looks', byRdma),
    ...peer('all looks', looks, byRdma),
  };
  return [...handoverRows(plan, measured, ' by verbs', null), ways];
}
