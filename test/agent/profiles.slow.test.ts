import { readdir } from 'node:fs/promises';
import t from 'tap';
import type { Profile } from '../../protocol/profile.js';
import { AgentRig, component, instance } from './rig.js';

const named = (name: string) => component('named', { env: { FUNCTION: name } });
const LOOKS_MAX = 60;
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
      await rig.until('a second passes', passed(1_000));
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
  rig.startAgent();
  const killedMs = Date.now();
  await rig.until('adopted', () => rig.events.filter(({ kind }) => kind === 'adopted').length === 3);
  const after = await until('red', 'spendRed', killedMs);
  t.equal(secondsIn(after, 'spendBlue'), 0);

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

function passed(ms: number): () => boolean {
  const end = Date.now() + ms;
  return () => Date.now() >= end;
}
