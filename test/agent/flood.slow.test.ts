import t from 'tap';
import { AgentRig, component, instance } from './rig.js';

t.test('an instance that floods its agent is named, and harms nobody else', async (t) => {
  const rig = await AgentRig.make();
  const apps = { t: { flood: component('flood'), store: component('store') } };
  rig.desire(() => ({ apps, instances: [instance('flood', 0)] }));
  await rig.until('it is told', () => rig.events.some(({ kind }) => kind === 'control-flood'));
  rig.desire((desired) => ({ instances: [...desired.instances, instance('store', 0)] }));
  await rig.until('another one gets ready beside it', () => rig.status('t-store-0')?.phase === 'ready');
  const told = rig.events.filter(({ kind }) => kind === 'control-flood');
  t.match(told, [{ app: 't', component: 'flood', instance: 't-flood-0', message: /more .* than 200 messages\/s/ }]);
  t.equal(rig.status('t-flood-0')?.restarts, 0, 'it goes on');
  t.same(await rig.close(), []);
});
