import t from 'tap';
import { desiredText, parseChanged, parseDesired } from '../../agent/desired.js';
import type { Desired, DesiredChange } from '../../protocol/link.js';
import type { CopyRecord } from '../../protocol/state-copies.js';
import { component, instance } from './rig.js';

function record(epoch: number): CopyRecord {
  return { epoch, phase: 'serving', owner: { host: 'h0', instance: 't-store-0' }, inSync: ['h0'], joining: [] };
}

const held: Desired = {
  revision: 3,
  apps: { t: { store: component('store') } },
  instances: [instance('store', 0)],
  shards: { 't/store': { epoch: 1, owners: ['t-store-0', null] } },
  copies: { 't/store/0': record(1), 't/store/1': record(1) },
};

t.test('a change is looked at as the whole is', async (t) => {
  const good: Omit<DesiredChange, 'from' | 'revision'>[] = [
    { copies: { 't/store/1': record(2) } },
    { copies: { 't/store/1': null }, shards: { 't/store': null }, apps: { t: null }, removed: ['t-store-0'] },
    { instances: [instance('store', 1)], secrets: { t: { key: 'eA==' } }, elsewhere: [] },
  ];
  for (const parts of good) {
    const after = parseChanged(held, { from: 3, revision: 4, ...parts });
    t.match(after, { revision: 4 });
    t.same(parseDesired(JSON.parse(JSON.stringify(after))), JSON.parse(JSON.stringify(after)), 'as the whole');
  }
  const bad: Record<string, unknown>[] = [
    { copies: { 't/store/1': { ...record(2), epoch: -1 } } },
    { copies: { '../1': record(2) } },
    { instances: [{ ...instance('store', 1), id: '../t-store-1' }] },
    { shards: { 't/store': { epoch: 1, owners: 'all' } } },
    { apps: { t: { store: {} } } },
    { secrets: { t: { '../key': 'eA==' } } },
    { elsewhere: [{ host: '', address: null, instances: [] }] },
    { warm: [{ app: 't', component: 'store', count: -1, size: { cpu: 1, memory: 1 } }] },
  ];
  for (const parts of bad) {
    const what = JSON.stringify(parts).slice(0, 60);
    t.throws(() => parseChanged(held, { from: 3, revision: 4, ...parts }), { code: 'SHOAL_E_FRAME' }, what);
  }
  t.equal(parseChanged(held, { from: 2, revision: 4 }), null, 'of another state');
  t.equal(parseChanged(held, { from: 2, revision: 3 }), held, 'made already');
});

t.test('what is written to the disk is the whole, whatever was written before', async (t) => {
  t.same(JSON.parse(desiredText(held)), held);
  const after = parseChanged(held, { from: 3, revision: 4, copies: { 't/store/1': record(2), 't/store/0': null } });
  t.ok(after);
  if (after === null) return;
  t.same(JSON.parse(desiredText(after)), { ...held, revision: 4, copies: { 't/store/1': record(2) } });
});
