import pino from 'pino';
import t from 'tap';
import { Builds, shallBuild } from '../../../agent/builds/builds.js';
import { ShoalError } from '../../../protocol/errors.js';
import type { BuildStatus } from '../../../protocol/link.js';
import type { BuildSource } from '../../../protocol/manifest.js';
import { until } from '../../../scripts/lib/until.js';
import { component } from '../rig.js';

const MINUTE_MS = 60_000;

function build(revision: string, state: BuildStatus['state'], endedMs = 0): BuildStatus {
  return { id: 'id', app: 'a', component: 'c', revision, state, step: '', why: '', startedMs: 0, endedMs };
}

t.test('what is built, and what that failed is tried again when', async (t) => {
  const [failed, built] = [build('r', 'failed', MINUTE_MS), build('r', 'built')];
  const away = build('', 'failed');
  t.equal(shallBuild([], 'r', 0, 0), true);
  t.equal(shallBuild([built], 'r', 0, 100 * MINUTE_MS), false);
  t.equal(shallBuild([built, build('s', 'built')], 'r', 0, 0), true, 'the ref has gone back');
  for (const [retries, minutes] of [1, 5, 25].entries()) {
    t.equal(shallBuild([failed], 'r', retries, (1 + minutes) * MINUTE_MS - 1), false);
    t.equal(shallBuild([failed], 'r', retries, (1 + minutes) * MINUTE_MS), true, `after ${minutes} min`);
  }
  t.equal(shallBuild([failed], 'r', 3, 10_000 * MINUTE_MS), false, 'then when somebody asks');
  t.equal(shallBuild([failed, away], 'r', 0, 2 * MINUTE_MS), true, 'also after its source was away');
  t.equal(
    shallBuild([failed, build('s', 'built')], 'r', 0, 10 * MINUTE_MS),
    false,
    'not one that another has followed',
  );
});

/** What a component `c` of the app `a`, and one of the app `b`, have built of one folder; `prepare` answers its image. */
class Rig {
  nowMs = 0;
  cancelled: string[] = [];
  events: string[] = [];
  source: BuildSource;
  readonly builds: Builds;

  constructor(build: string, prepare: () => Promise<string>) {
    this.source = { kind: 'build', build };
    this.builds = new Builds({
      prepare,
      cancel: (id) => this.cancelled.push(id),
      idOf: () => 'id',
      clock: () => this.nowMs,
      log: pino({ level: 'silent' }),
      changed: () => undefined,
      event: (_app, _component, kind) => this.events.push(kind),
    });
  }

  sync(other?: BuildSource): void {
    const of = (source: BuildSource) => ({ c: { ...component('c'), source } });
    this.builds.sync({ apps: { a: of(this.source), ...(other === undefined ? {} : { b: of(other) }) } });
  }

  async hasCome(state: BuildStatus['state'], app = 'a'): Promise<void> {
    await until(() => {
      this.sync();
      return this.last(app)?.state === state;
    });
  }

  last(app = 'a'): BuildStatus | undefined {
    return this.builds.statuses().findLast((each) => each.app === app);
  }
}

t.test('a registry that was away is asked again', async (t) => {
  let tries = 0;
  const rig = new Rig(t.testdir({ 'index.html': 'x' }), async () => {
    tries += 1;
    if (tries === 1) throw new Error('step install: the registry does not answer');
    return 'sha256:0';
  });
  await rig.hasCome('failed');
  rig.nowMs = 2 * MINUTE_MS;
  await rig.hasCome('built');
  t.equal(tries, 2);
  t.equal(rig.builds.statuses().length, 1);
});

t.test(
  'what was cancelled ends, is not tried again, also by a new agent, and is built when somebody asks',
  async (t) => {
    const folder = t.testdir({ 'index.html': 'x' });
    const ends: ((error?: Error) => void)[] = [];
    const prepare = () =>
      new Promise<string>((resolve, reject) => ends.push((error) => (error ? reject(error) : resolve('sha256:0'))));
    const cancelled = new ShoalError('SHOAL_E_CANCELLED', 'it is no longer wanted');
    const rig = new Rig(folder, prepare);
    await rig.hasCome('building');
    rig.sync();
    t.same(rig.cancelled, []);
    const revision = rig.last()?.revision ?? '';
    rig.source = { ...rig.source, cancelled: revision };
    rig.sync();
    t.same(rig.cancelled, ['id']);
    ends[0]?.(cancelled);
    await rig.hasCome('cancelled');
    t.match(rig.last(), { why: 'it is no longer wanted', endedMs: 0 });
    t.same(rig.events, ['build-cancelled']);
    rig.nowMs = 100 * MINUTE_MS;
    rig.sync();
    rig.source = { ...rig.source, looks: 1 };
    rig.sync();
    t.equal(rig.last()?.state, 'cancelled', 'nor by a webhook');

    const next = new Rig(folder, prepare);
    next.source = rig.source;
    await next.hasCome('cancelled');
    t.equal(ends.length, 1);

    const { cancelled: _, ...source } = rig.source;
    rig.source = { ...source, looks: 2 };
    await rig.hasCome('building');
    rig.source = { ...rig.source, cancelled: revision };
    rig.sync();
    ends[1]?.();
    await rig.hasCome('cancelled');
    t.equal(ends.length, 2, 'too late to be ended, it is not told as built');
  },
);

t.test('a build ends with the last component that wants it', async (t) => {
  const rig = new Rig(t.testdir({ 'index.html': 'x' }), () => new Promise(() => undefined));
  const other = { ...rig.source };
  rig.sync(other);
  await until(() => rig.last('a')?.state === 'building' && rig.last('b')?.state === 'building');
  rig.source = { ...rig.source, cancelled: rig.last()?.revision ?? '' };
  rig.sync(other);
  t.same(rig.cancelled, []);
  rig.sync();
  t.same(rig.cancelled, ['id']);
});
