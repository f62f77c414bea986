import { readdir } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import type { Profile } from '../../protocol/profile.js';
import { freePort } from '../../scripts/lib/demo/cluster.js';
import { AgentRig, component, instance, shardMap } from './rig.js';

const named = (name: string) => component('named', { env: { FUNCTION: name } });
const LOOK_MS = 200;
const LOOKS_MAX = 300;
/** Keys that are written until the agent tells of them. */
const FIRST = ['first', 'second'];
/** Of an agent that is told so. */
const HERTZ = 499;
const RED = named('spendRed');
const BLUE = named('spendBlue');

/** Seconds by function that is in the stack. */
function secondsIn({ functions, stacks }: Profile, name: string): number {
  const within = functions.flatMap((each, place) => (each.name.startsWith(`${name} `) ? [place] : []));
  return stacks.reduce(
    (sum, { frames, seconds }) => sum + (frames.some((each) => within.includes(each)) ? seconds : 0),
    0,
  );
}

t.test('components are profiled from their start on, by function, and an agent that was killed goes on', async (t) => {
  const rig = await AgentRig.make();
  let request = 0;
  const ask = async (component: string, fromMs: number): Promise<Profile> => {
    request += 1;
    rig.askProfile(request, { app: 't', component, kind: 'cpu', fromMs, toMs: Date.now() + 1_000 });
    await rig.until('the agent answers', () => rig.answers.some((each) => each.request === request));
    const answer = rig.answers.find((each) => each.request === request);
    if (answer?.type !== 'profile') throw new Error(`no profile: ${answer?.why}`);
    return answer.profile;
  };
  const until = async (component: string, name: string, fromMs: number): Promise<Profile> => {
    for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
      const profile = await ask(component, fromMs);
      if (secondsIn(profile, name) > 0.3) return profile;
      await rig.until('some time passes', passed(LOOK_MS));
    }
    throw new Error(`${name} is not in the profile of ${component} after ${LOOKS_MAX} looks`);
  };
  const startMs = Date.now();
  rig.desire(() => ({
    apps: { t: { red: RED, blue: BLUE } },
    instances: [instance('red', 0), instance('blue', 0), instance('red', 1)],
  }));
  await rig.until('all are ready', () => rig.statuses.filter((each) => each.phase === 'ready').length === 3);
  const red = await until('red', 'spendRed', startMs);
  const blue = await until('blue', 'spendBlue', startMs);
  t.equal(secondsIn(red, 'spendBlue'), 0, 'none of the other component');
  t.equal(secondsIn(blue, 'spendRed'), 0);
  t.equal(red.hertz, 99);
  t.ok(
    red.functions.some(({ file }) => file === 'node'),
    'the names of Node.js itself are there too',
  );

  await rig.killAgent('SIGKILL');
  rig.startAgent('--profile-hertz', String(HERTZ));
  const killedMs = Date.now();
  await rig.until('adopted', () => rig.events.filter(({ kind }) => kind === 'adopted').length === 3);
  const after = await until('red', 'spendRed', killedMs);
  t.equal(secondsIn(after, 'spendBlue'), 0);
  t.equal(after.hertz, HERTZ);
  const sum = (of: 'count' | 'seconds') => after.stacks.reduce((total, each) => total + each[of], 0);
  t.ok(Math.abs((sum('seconds') * HERTZ) / sum('count') - 1) < 0.03, 'a sample stands for a period of the new rate');

  rig.desire(() => ({ instances: [instance('blue', 0)] }));
  await rig.until('red is gone', () => rig.statuses.length === 1);
  t.ok(secondsIn(await ask('red', killedMs), 'spendRed') > 0.3, 'what it did is still known');
  await rig.killAgent('SIGTERM');
  rig.startAgent();
  t.ok(secondsIn(await askWhenBack(), 'spendRed') > 0.3, 'and by the next agent, from its disk');
  t.same(
    (await readdir('/sys/fs/bpf').catch(() => [])).filter((name) => name.includes('shoal')),
    [],
    'nothing is pinned',
  );
  t.same(await rig.close(), []);

  async function askWhenBack(): Promise<Profile> {
    const before = rig.events.filter(({ kind }) => kind === 'adopted').length;
    await rig.until('adopted again', () => rig.events.filter(({ kind }) => kind === 'adopted').length > before);
    return ask('red', killedMs);
  }
});

t.test('reads and writes of state are told by key, and an agent that is new tells none of them again', async (t) => {
  const rig = await AgentRig.make();
  const port = await freePort();
  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).json();
  rig.desire(() => ({
    apps: {
      t: {
        store: component('store', { state: 'partitioned' }),
        front: component('front', { calls: ['store'], ports: [{ name: 'http', host: port }] }),
      },
    },
    instances: [instance('store', 0), instance('front', 0)],
    shards: { 't/store': shardMap(1, ['t-store-0']) },
  }));
  const owned = () => rig.status('t-store-0')?.shards.length === 64;
  await rig.until('the shards are owned', owned);
  await rig.until('the host port listens', () => rig.ports.some(({ host }) => host === port));
  let request = 100;
  let seen: string[] = [];
  const told = async () => {
    request += 1;
    rig.askProfile(request, { app: 't', component: 'store', kind: 'keys', fromMs: 0, toMs: Date.now() + 1_000 });
    await rig.until('the agent answers', () => rig.answers.some((each) => each.request === request));
    const answer = rig.answers.find((each) => each.request === request);
    if (answer?.type !== 'profile') throw new Error(`no profile: ${answer?.why}`);
    const { functions, stacks } = answer.profile;
    const sums: Record<string, number> = {};
    seen = functions.map(({ name }) => name);
    for (const { frames, count } of stacks) {
      const [key = '', , kind] = frames.map((place) => functions[place]?.name);
      if (FIRST.includes(key)) continue;
      sums[`${kind} of ${key}`] = (sums[`${kind} of ${key}`] ?? 0) + count;
    }
    return sums;
  };
  const untilTold = async (wanted: Record<string, number>) => {
    let found = {};
    for (let looks = 0; looks < LOOKS_MAX; looks += 1) {
      found = await told();
      if (isDeepStrictEqual(found, wanted)) break;
      await rig.until('some time passes', passed(LOOK_MS));
    }
    t.same(found, wanted);
  };
  /** Afterwards the agent has heard of the instance: what comes then is new. */
  const untilHeard = async (key: string) => {
    for (let looks = 0; looks < LOOKS_MAX && !seen.includes(key); looks += 1) {
      await ask(`/store/set?key=${key}&value=1`);
      await rig.until('some time passes', passed(LOOK_MS));
      await told();
    }
    t.ok(seen.includes(key), `${key} is told`);
  };
  await untilHeard('first');
  for (let i = 0; i < 5; i += 1) await ask('/store/set?key=heavy&value=1');
  await ask('/store/set?key=light&value=1');
  await ask('/store/get?key=light');
  await untilTold({ 'writes of heavy': 5, 'writes of light': 1, 'reads of light': 1 });
  await rig.killAgent('SIGTERM');
  rig.statuses = [];
  rig.startAgent();
  await rig.until('the next agent has taken over', owned);
  await untilHeard('second');
  await ask('/store/get?key=heavy');
  await untilTold({ 'writes of heavy': 5, 'writes of light': 1, 'reads of light': 1, 'reads of heavy': 1 });
  t.same(await rig.close(), []);
});

function passed(ms: number): () => boolean {
  const end = Date.now() + ms;
  return () => Date.now() >= end;
}
