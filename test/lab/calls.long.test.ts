import { join } from 'node:path';
import t from 'tap';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { startShoalInRack } from '../../scripts/lib/lab/shoal.js';
import { WHOLE_STREAMS } from '../agent/ledger-app.js';
import type { CallsByRdma } from './calls-peer.js';
import { STEP_MS_MAX } from './guest.js';

t.test('calls between two hosts with RDMA, which goes and comes: answered once or failed with a code', async (t) => {
  const rack = await bootRack({ hosts: 2, memoryMib: 1_536 });
  t.teardown(() => rack.stop());
  const told = await startShoalInRack(rack, (host) => [`host=${host}`], 5 * STEP_MS_MAX);
  const peer = ['node', join(CHECKOUT, 'dist/test/lab/calls-peer.js')];
  const { code, stdout, stderr } = await rack.run('h1', peer, { timeMs: 4 * STEP_MS_MAX });
  if (code !== 0) throw new Error(`${stderr}\n${told()}`);
  const { connections, streams, outcomes } = JSON.parse(stdout) as CallsByRdma;
  t.match(connections['at first'], { host: 'h2', encrypted: false, reason: /^both hosts have RDMA: rxe0/ });
  for (const host of rack.hosts)
    t.match(connections[`while ${host} loses packets of RDMA`], { reason: /RDMA/ }, 'it is said why not by RDMA');
  t.same(
    streams,
    [WHOLE_STREAMS, WHOLE_STREAMS],
    'streams pass by RDMA both ways, whole and in order, before and after the faults',
  );
  t.comment(JSON.stringify(outcomes));
  const failed = Object.values(outcomes.failed).reduce((sum, each) => sum + each, 0);
  t.equal(outcomes.answered + failed, outcomes.asked, JSON.stringify(outcomes));
  t.equal(outcomes.twice, 0);
  t.same(
    Object.keys(outcomes.failed).filter((each) => !each.startsWith('SHOAL_E_')),
    [],
  );
});
