import { CoordinatorsRig } from '../cluster/coordinators.js';
import { EtcdRig } from '../cluster/etcd.js';
import { type Row, sharesOf } from './rows.js';

const MEMBERS = 3;
const COORDINATORS = 3;

/**
 * Three coordinators over three members of etcd on this host. Again and again the leader is ended by a signal, and it is
 * measured until another coordinator takes a change through the API.
 */
export async function benchFailover(count: number): Promise<Row[]> {
  const etcd = await EtcdRig.start(MEMBERS);
  const rig = await CoordinatorsRig.start(COORDINATORS, etcd.endpoints);
  try {
    const rows: Row[] = [];
    // SIGSTOP is a host that fell silent: nothing says that it is gone, so its lease has to end.
    for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGTERM'] as const) {
      const times: number[] = [];
      const rounds = signal === 'SIGKILL' ? count : Math.ceil(count / 4);
      for (let round = 0; round < rounds; round += 1) times.push(await failOver(rig, signal));
      rows.push(...sharesOf(`fail-over after ${signal}, of ${times.length}`, times));
    }
    return rows;
  } finally {
    await rig.close();
    await etcd.close();
  }
}

async function failOver(rig: CoordinatorsRig, signal: NodeJS.Signals): Promise<number> {
  const leader = await rig.untilLed();
  const others = rig.seats.filter((seat) => seat !== leader);
  for (const seat of others) await rig.untilFollows(seat);
  const child = leader.child;
  const sinceMs = performance.now();
  child?.kill(signal);
  while (!(await Promise.any(others.map(({ api }) => takesChange(api))).catch(() => false))) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const tookMs = performance.now() - sinceMs;
  child?.kill('SIGCONT');
  await rig.end(leader);
  rig.launch(leader);
  return tookMs;
}

const POLL_MS = 5;

/** Rejects unless a change was taken. A coordinator that forwards to the dead one is not one that takes it. */
async function takesChange(api: string): Promise<boolean> {
  const view = (await (await fetch(`${api}/v1/cluster`, { signal: AbortSignal.timeout(500) })).json()) as {
    role: string;
  };
  if (view.role !== 'leads') throw new Error('does not lead');
  const headers = { 'content-type': 'application/yaml' };
  const response = await fetch(`${api}/v1/apps/probe`, { method: 'PUT', headers, body: PROBE });
  if (!response.ok) throw new Error(`answered ${response.status}`);
  return true;
}

const PROBE = 'app: probe\ncomponents:\n  one:\n    rootfs: host\n    command: [/bin/true]\n';
