import { join } from 'node:path';
import t from 'tap';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { startShoalInRack } from '../../scripts/lib/lab/shoal.js';
import { STEP_MS_MAX } from './guest.js';
import type { StateByRdma } from './state-peer.js';

const HOSTS = 2;
const SEED = Number(process.env.SHOAL_SEED ?? 1);

t.test(
  'state moves between machines by RDMA under calls, and one of them goes: no answered write is lost',
  async (t) => {
    const rack = await bootRack({ hosts: HOSTS, memoryMib: 1_536 });
    t.teardown(() => rack.stop());
    const labelsOf = (host: string) => (host === 'h1' ? ['state=yes', 'caller=yes'] : ['state=yes']);
    const told = await startShoalInRack(rack, labelsOf, 5 * STEP_MS_MAX);
    const peer = ['node', join(CHECKOUT, 'dist/test/lab/state-peer.js'), String(HOSTS), String(SEED)];
    const { code, stdout, stderr } = await rack.run('h1', peer, { timeMs: 4 * STEP_MS_MAX });
    if (code !== 0) throw new Error(`${stderr}\n${told()}`);
    const { ways, moved, taken, answered, failed, broken, lost } = JSON.parse(stdout) as StateByRdma;
    t.comment(`${stderr}${answered} calls answered, ${failed} not; ${moved} hand-overs; ${JSON.stringify(ways)}`);
    t.equal(Object.keys(ways).length, HOSTS * (HOSTS - 1));
    for (const [pair, { by, reason, rdmaBytes }] of Object.entries(ways)) {
      t.equal(by, 'rdma', `${pair}: ${reason}`);
      t.ok(rdmaBytes > 0, pair);
    }
    t.ok(moved > 0, `${moved} state shards went to owners on other hosts`);
    t.ok(taken > 0, `the machine that went served ${taken}`);
    t.ok(answered > 40, `${answered} calls were answered, ${failed} not`);
    t.same(broken, [], 'all answers are as from one copy');
    t.same(lost, []);
  },
);
