import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { AgentRig, component, instance } from './rig.js';

const ENDED_MS_MAX = LIMITS.singletonLeaseMs + LIMITS.singletonMarginMs + 20_000;

async function lives(pid: number | undefined): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
}

/** Bounded; throws with what it waited for. */
async function untilEnded(what: string, pid: number | undefined): Promise<void> {
  const deadline = performance.now() + ENDED_MS_MAX;
  while (await lives(pid)) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

t.test(
  'a singleton ends when its lease does, also while its agent stands still, and starts under a new one only',
  { timeout: 240_000 },
  async (t) => {
    const rig = await AgentRig.make();
    rig.prolongsLeases = false;
    const apps = { t: { one: component('store', { singleton: true }), many: component('store') } };
    const many = { ...instance('store', 0), id: 't-many-0', component: 'many' };
    const one = { ...instance('store', 1), id: 't-one-1', component: 'one' };
    rig.desire(() => ({ apps, instances: [many, one] }));
    await rig.until('the other one is ready', () => rig.status('t-many-0')?.phase === 'ready');
    t.equal(rig.status('t-one-1')?.phase, 'starting', 'without a lease it waits');
    rig.prolongsLeases = true;
    await rig.until('the singleton is ready', () => rig.status('t-one-1')?.phase === 'ready');
    const pid = rig.status('t-one-1')?.pid;
    t.ok(await lives(pid));
    t.match(await readFile(join(rig.run, 'lease'), 'utf8'), /^\d+\n$/);

    const agents = await rig.agentPids();
    for (const each of agents) process.kill(each, 'SIGSTOP');
    await untilEnded('its shim has ended it', pid);
    t.ok(await lives(rig.status('t-many-0')?.pid), 'others go on');
    for (const each of agents) process.kill(each, 'SIGCONT');
    const again = () => rig.status('t-one-1')?.phase === 'ready' && (rig.status('t-one-1')?.restarts ?? 0) > 0;
    await rig.until('it runs again under a new lease', again, 60_000);
    t.ok(
      rig.events.some(({ kind, message }) => kind === 'exited' && message.includes('its lease is over')),
      'why it ended is said',
    );
    t.same(await rig.close(), []);
  },
);
