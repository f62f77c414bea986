import pino from 'pino';
import t from 'tap';
import { Builds, shallBuild } from '../../../agent/builds/builds.js';
import type { BuildStatus } from '../../../protocol/link.js';
import type { Component } from '../../../protocol/manifest.js';
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

t.test('a registry that was away is asked again', async (t) => {
  const source: Component['source'] = { kind: 'build', build: t.testdir({ 'index.html': 'x' }) };
  let [nowMs, tries] = [0, 0];
  const builds = new Builds({
    prepare: async () => {
      tries += 1;
      if (tries === 1) throw new Error('step install: the registry does not answer');
      return 'sha256:0';
    },
    idOf: () => 'id',
    clock: () => nowMs,
    log: pino({ level: 'silent' }),
    changed: () => undefined,
    event: () => undefined,
  });
  const hasCome = (state: BuildStatus['state']) =>
    until(() => {
      builds.sync({ apps: { a: { c: { ...component('c'), source } } } });
      return builds.statuses().at(-1)?.state === state;
    });
  await hasCome('failed');
  nowMs = 2 * MINUTE_MS;
  await hasCome('built');
  t.equal(tries, 2);
  t.equal(builds.statuses().length, 1);
});
