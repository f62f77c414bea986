import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { applyManifest, type ClusterState, own, setCordon, setMode, setOverride } from '../../coordinator/cluster.js';
import { SimulatedCluster } from '../../scripts/lib/bench/simulated-cluster.js';

const INSTANCES = 200;
const TICKS = 40;

/** Something that a person does between two ticks. */
type Deed = (state: ClusterState) => ClusterState;

const app = fc.constantFrom('app-0', 'app-1');
const component = fc.constantFrom('c0', 'c3', 'c7', 'c9');
const deed: fc.Arbitrary<Deed> = fc.oneof(
  fc.record({ app, component, count: fc.option(fc.integer({ min: 7, max: 9 })) }).map((each): Deed => {
    return (state) => setOverride(state, each.app, each.component, each.count);
  }),
  fc.constantFrom(null, { drain: false, sinceMs: 0 }, { drain: true, sinceMs: 0 }).map((cordon): Deed => {
    return (state) => setCordon(state, 'host-0', cordon);
  }),
  fc.record({ app, component, mode: fc.constantFrom('act' as const, 'observe' as const, null) }).map((each): Deed => {
    return (state) => setMode(state, each.app, each.component, each.mode);
  }),
  fc.record({ app, component, max: fc.integer({ min: 9, max: 30 }), command: fc.constantFrom('x', 'y') }).map(changed),
);

/** Another manifest for one component: more of it, or another program. */
function changed(by: { app: string; component: string; max: number; command: string }): Deed {
  return (state) => {
    const manifest = own(state.apps, by.app)?.manifest;
    const before = manifest?.components[by.component];
    if (manifest === undefined || before === undefined) throw new Error(`no ${by.app}/${by.component}`);
    const after = { ...before, command: [by.command], count: { ...before.count, max: by.max } };
    return applyManifest(state, { ...manifest, components: { ...manifest.components, [by.component]: after } });
  };
}

t.test('a tick decides the same whether it goes on from the last or works out all anew', async (t) => {
  const deeds = fc.array(fc.record({ tick: fc.integer({ min: 1, max: TICKS - 1 }), deed }), { maxLength: 8 });
  // From so fast that a quarter of the instances are resized each second to hardly at all.
  const period = fc.constantFrom(20, 60, 86_400);
  fc.assert(
    fc.property(period, deeds, (periodSeconds, deeds) => {
      const kept = new SimulatedCluster(INSTANCES, periodSeconds);
      const anew = new SimulatedCluster(INSTANCES, periodSeconds, true);
      for (let tick = 0; tick < TICKS; tick += 1) {
        for (const each of deeds.filter((each) => each.tick === tick)) {
          for (const cluster of [kept, anew]) cluster.state = each.deed(cluster.state);
        }
        for (const cluster of [kept, anew]) cluster.second();
        if (!isDeepStrictEqual(kept.state, anew.state)) throw new Error(`they part in tick ${tick}`);
      }
    }),
    { numRuns: 12 },
  );
  t.pass('in every run');
});
