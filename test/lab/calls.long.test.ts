import { join } from 'node:path';
import t from 'tap';
import { Authority } from '../../identity/authority.js';
import { bootRack, CHECKOUT } from '../../scripts/lib/lab/rack.js';
import { WHOLE_STREAMS } from '../agent/ledger-app.js';
import type { CallsByRdma } from './calls-peer.js';
import { STEP_MS_MAX } from './guest.js';

const DIST = join(CHECKOUT, 'dist');
const LINK = '10.0.0.1:7947';
const FABRIC_PORT = 7948;

t.test('calls between two hosts with RDMA, which goes and comes: answered once or failed with a code', async (t) => {
  const rack = await bootRack({ hosts: 2, memoryMib: 1_536 });
  t.teardown(() => rack.stop());
  const authority = new Authority(join(rack.folder, 'ca'));
  await authority.init('test');
  await authority.issue('coordinator', 'c', 1, join(rack.folder, 'c.identity'));
  const output: string[] = [];
  /** Is started again when it ends, until the machine does. */
  const serve = (host: string, argv: string[]) => {
    const onOutput = (_: string, text: string) => output.push(text);
    const script = 'while :; do "$@"; done';
    rack
      .start(host, ['sh', '-c', script, 'sh', 'node', ...argv], { timeMs: 5 * STEP_MS_MAX, onOutput })
      .result.catch((error: unknown) => output.push(String(error)));
  };
  const data = ['--data', '/run/data', '--run', '/run/c', '--socket', '/run/c/c.sock'];
  await rack.run('h1', ['mkdir', '-p', '/run/c'], { timeMs: STEP_MS_MAX });
  const identity = (name: string) => ['--identity', `/run/lab/${name}.identity`];
  serve('h1', [join(DIST, 'coordinator/main.js'), '--name', 'c', ...data, '--link', LINK, ...identity('c')]);
  for (const [index, host] of rack.hosts.entries()) {
    await authority.issue('agent', host, 1, join(rack.folder, `${host}.identity`));
    const own = ['--name', host, '--label', `host=${host}`, '--run', '/run/agent', '--profile-hertz', '0'];
    const fabric = ['--fabric', `10.0.0.${index + 1}:${FABRIC_PORT}`, '--fabric-plain'];
    await rack.run(host, ['mkdir', '-p', '-m', '711', '/run/agent'], { timeMs: STEP_MS_MAX });
    serve(host, [join(DIST, 'agent/main.js'), ...own, '--socket', LINK, ...identity(host), ...fabric]);
  }

  const peer = ['node', join(DIST, 'test/lab/calls-peer.js')];
  const { code, stdout, stderr } = await rack.run('h1', peer, { timeMs: 4 * STEP_MS_MAX });
  if (code !== 0) throw new Error(`${stderr}\n${output.join('').slice(-8_000)}`);
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
