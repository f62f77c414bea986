import t, { type Test } from 'tap';
import { desiredFor } from '../../coordinator/cluster.js';
import { loadCluster } from '../../coordinator/persist.js';
import { newsOf } from '../../protocol/instance-news.js';
import type { BuildStatus, InstancePhase, InstanceStatus } from '../../protocol/link.js';
import { CoordinatorRig } from './rig.js';

const YAML = { 'content-type': 'application/yaml' };
const MANIFEST = (more = '') => `app: shop
components:
  web: { build: { from: "https://example.org/shop.git", ref: main }, count: 2 ${more} }
`;
const [ONE, TWO] = ['1'.repeat(40), '2'.repeat(40)];

class Rollout {
  builds: BuildStatus[] = [];
  /** Ends of the processes of instances made of this revision. */
  ends: Record<string, number> = {};
  /** What becomes of an instance of this revision that was made so many seconds ago. */
  fate: (revision: string, ageS: number) => { phase?: InstancePhase; restarts?: number } = () => ({});
  /** Instance id → when its agent said something of it first. */
  readonly #madeMs = new Map<string, number>();
  /** Instance id → revision that it was made of, as its agent knew it then. */
  readonly made = new Map<string, string>();

  private constructor(readonly rig: CoordinatorRig) {}

  static async make(t: Test): Promise<Rollout> {
    const rig = await CoordinatorRig.make();
    t.teardown(() => rig.close());
    await rig.addHost('h1');
    const rollout = new Rollout(rig);
    t.equal((await rollout.put(MANIFEST())).statusCode, 200);
    return rollout;
  }

  put(payload: string) {
    return this.rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', headers: YAML, payload });
  }

  build(revision: string, change: Partial<BuildStatus> = {}): void {
    const { nowMs } = this.rig;
    const common = { id: revision.slice(0, 16), app: 'shop', component: 'web', revision, step: 'store', why: '' };
    this.builds.push({ ...common, state: 'built', startedMs: nowMs, endedMs: nowMs, ...change });
  }

  get source(): unknown {
    return desiredFor(this.rig.coordinator.state, 'h1').apps.shop?.web?.source;
  }

  /** Revisions of the instances that are wanted and not draining. */
  revisions(): string[] {
    const { instances } = desiredFor(this.rig.coordinator.state, 'h1');
    return instances.filter(({ draining }) => !draining).map(({ id }) => this.made.get(id) ?? 'new');
  }

  async seconds(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) await this.#second();
  }

  async #second(): Promise<void> {
    const { rig } = this;
    rig.nowMs += 1_000;
    const { revision, instances, apps } = desiredFor(rig.coordinator.state, 'h1');
    const source = apps.shop?.web?.source;
    const statuses = instances.map(({ id, app, component, size }): InstanceStatus => {
      if (!this.made.has(id)) this.made.set(id, source?.kind === 'build' ? (source.revision ?? '') : '');
      if (!this.#madeMs.has(id)) this.#madeMs.set(id, rig.nowMs);
      const made = this.made.get(id) ?? '';
      const fate = this.fate(made, (rig.nowMs - (this.#madeMs.get(id) ?? 0)) / 1000);
      const { restarts = this.ends[made] ?? 0 } = fate;
      const exit = { code: 1, signal: null, reason: 'cannot find main.js' };
      const { phase = restarts > 0 ? 'backoff' : 'ready' } = fate;
      return { id, app, component, phase, size, restarts, shards: [], ...(restarts > 0 ? { exit } : {}) };
    });
    rig.coordinator.report('h1', { ...newsOf(statuses), revision, events: [], builds: this.builds });
    await rig.coordinator.tick();
  }
}

t.test(
  'nothing runs before a revision is built; a new one takes its place; a failed build changes nothing',
  async (t) => {
    const rollout = await Rollout.make(t);
    await rollout.seconds(2);
    t.match(rollout.source, { kind: 'build', ref: 'main' }, 'the host is told what to build');
    t.strictSame(rollout.revisions(), []);
    rollout.build(ONE);
    await rollout.seconds(3);
    t.strictSame(rollout.revisions(), [ONE, ONE]);

    rollout.build('3'.repeat(40), { state: 'failed', why: 'step 3/5 RUN npm ci: no' });
    await rollout.seconds(3);
    t.strictSame(rollout.revisions(), [ONE, ONE]);
    const listed = await rollout.rig.api.inject('/v1/builds?app=shop&component=web');
    t.match(listed.json(), [
      { state: 'failed', host: 'h1', why: /npm ci/ },
      { state: 'built', revision: ONE },
    ]);

    rollout.build(TWO);
    await rollout.seconds(1);
    t.ok(
      rollout.revisions().includes('new') && rollout.revisions().includes(ONE),
      'old ones stay until new ones are ready',
    );
    await rollout.seconds(3);
    t.strictSame(rollout.revisions(), [TWO, TWO]);
    await rollout.seconds(70);
    const release = (await loadCluster(rollout.rig.store)).apps.shop?.releases?.web;
    t.match(release, { revision: TWO, refused: [] });
    t.equal(release?.previous, undefined, 'it has held');
  },
);

t.test('of builds a host is believed for the apps alone that it has to do with', async (t) => {
  const rollout = await Rollout.make(t);
  const { rig } = rollout;
  rollout.build(ONE);
  await rollout.seconds(3);
  // All that is wanted runs on h1 by now.
  await rig.addHost('liar');
  const { revision } = rig.coordinator.state;
  const told = rollout.builds;
  rollout.builds = [];
  rollout.build(TWO);
  rig.coordinator.report('liar', { ...newsOf([]), revision, events: [], builds: rollout.builds });
  rollout.builds = told;
  await rollout.seconds(3);
  const taken = () => rig.coordinator.state.apps.shop?.releases?.web?.revision;
  t.equal(taken(), ONE, 'its build is not taken');
  rollout.build(TWO);
  await rollout.seconds(4);
  t.equal(taken(), TWO, 'that of a host of the app is');
});

t.test(
  'a revision whose instances end again and again is taken back by itself, and tried again when asked for',
  async (t) => {
    const rollout = await Rollout.make(t);
    rollout.build(ONE);
    await rollout.seconds(3);
    rollout.ends = { [TWO]: 2 };
    await rollout.seconds(1);
    rollout.build(TWO);
    await rollout.seconds(6);
    t.strictSame(rollout.revisions(), [ONE, ONE]);
    const told = rollout.rig.coordinator.events.since(0).filter(({ kind }) => kind === 'rolled-back');
    t.match(told, [{ message: /revision 2{12} does not hold, shop-web-\d: cannot find main.js; back to 1{12}/ }]);
    await rollout.seconds(5);
    t.strictSame(rollout.revisions(), [ONE, ONE], 'and stays away');

    rollout.ends = {};
    const ask = (name: string) =>
      rollout.rig.api.inject({ method: 'POST', url: `/v1/apps/shop/components/${name}/build` });
    t.equal((await ask('web')).statusCode, 200);
    t.equal((await ask('nope')).statusCode, 404);
    t.match(rollout.source, { looks: 1, revision: ONE });
    rollout.builds = [];
    rollout.build(TWO);
    await rollout.seconds(5);
    t.strictSame(rollout.revisions(), [TWO, TWO]);
  },
);

t.test('a build is cancelled until somebody asks for one, and what runs goes on', async (t) => {
  const rollout = await Rollout.make(t);
  const { rig } = rollout;
  const post = async (path: string, name = 'web') => {
    const { statusCode } = await rig.api.inject({ method: 'POST', url: `/v1/apps/shop/components/${name}/${path}` });
    return statusCode;
  };
  rollout.build(ONE);
  await rollout.seconds(3);
  t.equal(await post('build/cancel'), 409, 'none is under way');
  t.equal(await post('build/cancel', 'nope'), 404);
  rollout.build(TWO, { state: 'building' });
  await rollout.seconds(1);
  t.equal(await post('build/cancel'), 200);
  t.match(rollout.source, { revision: ONE, cancelled: TWO }, 'the hosts are told');
  t.match((await loadCluster(rig.store)).apps.shop?.cancelled, { web: TWO }, 'and the next leader');
  rollout.builds = rollout.builds.filter(({ state }) => state !== 'building');
  rollout.build(TWO);
  await rollout.seconds(5);
  t.strictSame(rollout.revisions(), [ONE, ONE], 'also when a host had just built it');
  t.equal(await post('build'), 200);
  t.notOk('cancelled' in (rollout.source as object));
  await rollout.seconds(5);
  t.strictSame(rollout.revisions(), [TWO, TWO]);
});

const unproven = ({ rig }: Rollout) => rig.coordinator.state.apps.shop?.releases?.web?.previous !== undefined;
const rolledBack = ({ rig }: Rollout) => rig.coordinator.events.since(0).filter(({ kind }) => kind === 'rolled-back');

t.test('a revision has held when all have served for a minute, however long it took to roll it out', async (t) => {
  const rollout = await Rollout.make(t);
  rollout.build(ONE);
  await rollout.seconds(3);
  rollout.fate = (revision, ageS) => ({ phase: revision === TWO && ageS < 80 ? 'starting' : 'ready' });
  rollout.build(TWO);
  // One after the other.
  for (let i = 0; i < 300 && rollout.revisions().some((each) => each !== TWO); i += 1) await rollout.seconds(1);
  t.strictSame(rollout.revisions(), [TWO, TWO]);
  for (let i = 0; i < 300 && desiredFor(rollout.rig.coordinator.state, 'h1').instances.length > 2; i += 1) {
    await rollout.seconds(1);
  }
  t.ok(unproven(rollout), 'not yet, as soon as all are ready');
  await rollout.seconds(90);
  t.notOk(unproven(rollout));
  t.strictSame(rolledBack(rollout), []);
});

t.test('one whose processes end every 40 s is taken back, also when the ends fall between two reports', async (t) => {
  const rollout = await Rollout.make(t);
  rollout.build(ONE);
  await rollout.seconds(3);
  rollout.fate = (revision, ageS) =>
    revision === TWO ? { phase: 'ready', restarts: Math.floor(ageS / 40) } : { phase: 'ready' };
  rollout.build(TWO);
  await rollout.seconds(75);
  t.ok(unproven(rollout));
  t.strictSame(rolledBack(rollout), []);
  await rollout.seconds(25);
  t.match(rolledBack(rollout), [{ message: /revision 2{12} does not hold, shop-web-\d: cannot find main.js/ }]);
  await rollout.seconds(10);
  t.strictSame(rollout.revisions(), [ONE, ONE]);
});

t.test('one that stays unready, or becomes so again and again, is taken back after a while', async (t) => {
  for (const servesS of [5, 30]) {
    const rollout = await Rollout.make(t);
    rollout.build(ONE);
    await rollout.seconds(3);
    // Either for good, or for the second half of each minute.
    const serves = (ageS: number) => (servesS === 5 ? ageS < 5 : ageS % 60 < 30);
    rollout.fate = (revision, ageS) => ({ phase: revision === TWO && !serves(ageS) ? 'unready' : 'ready' });
    rollout.build(TWO);
    await rollout.seconds(590);
    t.ok(unproven(rollout));
    t.strictSame(rolledBack(rollout), []);
    await rollout.seconds(60);
    t.match(rolledBack(rollout), [
      { message: /does not hold, shop-web-\d is unready, and .* within 600 s; back to 1{12}/ },
    ]);
    await rollout.seconds(10);
    t.strictSame(rollout.revisions(), [ONE, ONE]);
  }
});

t.test(
  'another source runs once it is built; until then what runs goes on; other changes keep the revision',
  async (t) => {
    const rollout = await Rollout.make(t);
    rollout.build(ONE);
    await rollout.seconds(3);
    t.equal((await rollout.put(MANIFEST(', env: { A: 1 }'))).statusCode, 200);
    t.match(rollout.source, { revision: ONE });
    await rollout.seconds(3);
    t.strictSame(rollout.revisions(), [ONE, ONE]);
    t.equal((await rollout.put(MANIFEST().replace('main', 'next'))).statusCode, 200);
    rollout.builds = [];
    await rollout.seconds(3);
    t.strictSame(rollout.revisions(), [ONE, ONE]);
    rollout.build(TWO);
    await rollout.seconds(4);
    t.strictSame(rollout.revisions(), [TWO, TWO]);
  },
);
