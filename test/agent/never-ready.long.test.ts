import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { AgentRig, component, instance } from './rig.js';

t.test(
  'an instance that never gets ready is ended, said so and started anew; others go on',
  { timeout: 120_000 },
  async (t) => {
    const rig = await AgentRig.make();
    const apps = { t: { never: component('never'), store: component('store') } };
    rig.desire(() => ({ apps, instances: [instance('never', 0), instance('store', 0)] }));
    await rig.until('the other one is ready', () => rig.status('t-store-0')?.phase === 'ready');
    const restarted = () => (rig.status('t-never-0')?.restarts ?? 0) > 0;
    await rig.until('it was given up', restarted, LIMITS.readyMsMax + 20_000);
    t.match(
      rig.events.find((event) => event.kind === 'not-ready'),
      { instance: 't-never-0', message: /not ready within 30 s: it never called ready\(\)/ },
    );
    t.match(rig.status('t-never-0')?.exit, { signal: 9, reason: /it never called ready\(\)/ });
    t.equal(rig.status('t-store-0')?.restarts, 0);
    t.same(await rig.close(), []);
  },
);
