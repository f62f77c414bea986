import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { rackProblem, runInOwnNetwork } from '../../scripts/lib/cluster/net-rack.js';
import { type CallsBetweenHosts, IN_NETWORK } from './calls-between-hosts.js';
import { WHOLE_STREAMS } from './ledger-app.js';

const NAME = 'calls between two hosts, whose agents are killed, are answered once or fail with a code';
t.test(NAME, { skip: (await rackProblem()) ?? false }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'calls.json');
  const script = fileURLToPath(new URL('calls-between-hosts.js', import.meta.url));
  t.equal(await runInOwnNetwork(`sh${process.pid}`, [script, file], IN_NETWORK), 0);
  const { connections, streams, outcomes } = JSON.parse(await readFile(file, 'utf8')) as CallsBetweenHosts;
  t.match(connections, [
    { host: 'h1', carrier: 'tcp', encrypted: true },
    { host: 'h0', carrier: 'tcp', encrypted: true },
  ]);
  t.same(streams, WHOLE_STREAMS, 'streams pass between hosts, whole and in order');
  t.match(outcomes.peers, [{ component: 'ledger', instances: [{ id: 't-ledger-0', carrier: 'ring' }] }]);
  const failed = Object.values(outcomes.failed).reduce((sum, each) => sum + each, 0);
  t.equal(outcomes.answered + failed, outcomes.asked, JSON.stringify(outcomes));
  t.equal(outcomes.twice, 0);
  t.ok(failed > 0, 'a killed agent is noticed');
  const untyped = Object.keys(outcomes.failed).filter((code) => !code.startsWith('SHOAL_E_'));
  t.same(untyped, []);
});
