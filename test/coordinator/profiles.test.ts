import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { ProfileSource } from '../../coordinator/agent-questions.js';
import { ShoalError } from '../../protocol/errors.js';
import type { HotFunctionsView, Problem, ProfileView } from '../../protocol/http.js';
import type { Profile, ProfileRequest } from '../../protocol/profile.js';
import { CoordinatorRig } from './rig.js';

const URL = '/v1/profiles/shop/web';
const EVIL = '</script><img src=x onerror=alert(1)>;\n<!--';

/** work calls sixty and thirty; some of it in the kernel; and a name as a container could choose it. */
function profileOf({ kind, fromMs, toMs }: ProfileRequest, factor = 1): Profile {
  const functions = [
    { name: 'sixty', file: 'web' },
    { name: 'thirty /app/x.js:7', file: '[jit]' },
    { name: 'work', file: 'web' },
    { name: 'do_page_fault', file: '[kernel]' },
    { name: EVIL, file: 'evil' },
  ];
  const stacks = [
    { frames: [0, 2], count: 60 * factor, seconds: 0.6 * factor },
    { frames: [1, 2], count: 30, seconds: 0.3 },
    { frames: [3, 1, 2], count: 9, seconds: 0.09 },
    { frames: [4], count: 1, seconds: 0.01 },
  ];
  return { kind, fromMs, toMs, hertz: 99, lost: 2, functions, stacks };
}

async function rigWith(test: { teardown(action: () => Promise<void>): void }, source: Partial<ProfileSource>) {
  const rig = await CoordinatorRig.make();
  test.teardown(() => rig.close());
  Object.assign(rig.profiles, {
    hosts: () => ['h1', 'h2'],
    ask: async (_: string, of: ProfileRequest) => profileOf(of),
    ...source,
  });
  return rig;
}

t.test('the profiles of all hosts are added up', async (t) => {
  const asked: ProfileRequest[] = [];
  const rig = await rigWith(t, {
    ask: async (_host, of) => {
      asked.push(of);
      return profileOf(of);
    },
  });
  const view = (await rig.api.inject(`${URL}?seconds=30`)).json<ProfileView>();
  t.match(view, { app: 'shop', component: 'web', kind: 'cpu', hertz: 99, lost: 4, missing: [], base: null });
  t.same(
    asked,
    Array(2).fill({ app: 'shop', component: 'web', kind: 'cpu', fromMs: rig.nowMs - 30_000, toMs: rig.nowMs }),
  );
  t.equal(
    view.stacks.reduce((sum, each) => sum + each.count, 0),
    200,
  );
  const hot = (await rig.api.inject(`${URL}?format=functions&kind=off-cpu`)).json<HotFunctionsView>();
  t.match(hot.functions[0], { name: 'sixty', selfSeconds: 1.2, totalSeconds: 1.2, baseSelfSeconds: 0 });
  const work = hot.functions.find((each) => each.name === 'work');
  t.ok(Math.abs((work?.totalSeconds ?? 0) - 1.98) < 1e-9 && work?.selfSeconds === 0);
});

t.test('a host that does not answer is named; without any there is an error', async (t) => {
  const rig = await rigWith(t, {
    ask: async (host, of) => {
      if (host === 'h2') throw new ShoalError('SHOAL_E_HOST', 'no profiles: an old kernel');
      return profileOf(of);
    },
  });
  const some = await rig.api.inject(`${URL}?format=collapsed`);
  t.equal(some.headers['shoal-missing-hosts'], 'h2');
  t.match((await rig.api.inject(URL)).json(), { missing: [{ host: 'h2', why: 'no profiles: an old kernel' }] });
  rig.profiles.hosts = () => ['h2'];
  t.match((await rig.api.inject(URL)).json<Problem>(), { status: 501, code: 'SHOAL_E_HOST', detail: /old kernel/ });
  rig.profiles.hosts = () => [];
  t.match((await rig.api.inject(URL)).json<Problem>(), { status: 503, code: 'SHOAL_E_UNREACHABLE' });
});

t.test('of what neither is nor was there is no empty profile but an error', async (t) => {
  const empty = async (_host: string, of: ProfileRequest) => ({ ...profileOf(of), stacks: [], functions: [] });
  const rig = await rigWith(t, { ask: empty });
  const problem = (await rig.api.inject(URL)).json<Problem>();
  t.match(problem, { status: 404, code: 'SHOAL_E_NOT_FOUND', detail: /no component shop\/web, nor a profile/ });
  const known = { app: 'shop', components: { web: { rootfs: 'host', command: ['true'] } } };
  t.equal((await rig.api.inject({ method: 'PUT', url: '/v1/apps/shop', payload: known })).statusCode, 200);
  t.match((await rig.api.inject(URL)).json<ProfileView>(), { stacks: [] }, 'one that did nothing has an empty one');
});

t.test('what is wrong in a question is refused by name', async (t) => {
  const rig = await rigWith(t, {});
  const from = 'from=2026-11-24T08:00:00Z';
  const wrong = ['seconds=0', 'seconds=x', 'format=svg', 'kind=gpu', 'to=2026-11-24T08:00:00Z', `${from}&seconds=3`];
  wrong.push(`${from}&to=2026-11-24T07:00:00Z`, 'baseFrom=2026-11-24T08:00:00Z', 'from=yesterday', 'other=1');
  for (const query of wrong) {
    const { statusCode, headers, json } = await rig.api.inject(`${URL}?${query}`);
    t.equal(statusCode, 400, query);
    t.match(headers['content-type'], /problem\+json/);
    t.equal(json<Problem>().code, 'SHOAL_E_USAGE', query);
  }
  t.equal((await rig.api.inject('/v1/profiles/Shop/web')).json<Problem>().code, 'SHOAL_E_NAME');
});

t.test('collapsed stacks: from the root on, one line each', async (t) => {
  const rig = await rigWith(t, { hosts: () => ['h1'] });
  const { body } = await rig.api.inject(`${URL}?format=collapsed`);
  t.same(body.split('\n'), [
    '</script><img src=x onerror=alert(1)>:?<!-- 1',
    'work;sixty 60',
    'work;thirty /app/x.js:7 30',
    'work;thirty /app/x.js:7;do_page_fault_[k] 9',
    '',
  ]);
  const waited = await rig.api.inject(`${URL}?format=collapsed&kind=off-cpu`);
  t.match(waited.body, /^work;sixty 600000$/m, 'waits by microseconds');
});

t.test('two spans are compared as if they were equally long', async (t) => {
  // The base is twice as long, and had half as much of sixty in each second.
  const rig = await rigWith(t, {
    hosts: () => ['h1'],
    ask: async (_host, of) => profileOf(of, of.toMs - of.fromMs > 90_000 ? 1 : 2),
  });
  const spans =
    'from=2026-11-24T08:00:00Z&to=2026-11-24T08:01:00Z&baseFrom=2026-11-23T08:00:00Z&baseTo=2026-11-23T08:02:00Z';
  const { body } = await rig.api.inject(`${URL}?format=collapsed&${spans}`);
  t.match(body, /^work;sixty 30 120$/m);
  const hot = (await rig.api.inject(`${URL}?format=functions&${spans}`)).json<HotFunctionsView>();
  t.match(hot.functions[0], { name: 'sixty', selfSeconds: 1.2, baseSelfSeconds: 0.3 });
  t.match((await rig.api.inject(`${URL}?${spans}`)).json<ProfileView>().base, {
    toMs: Date.parse('2026-11-23T08:02:00Z'),
  });
  const page = (await rig.api.inject(`${URL}?format=html&${spans}`)).body;
  t.match(page, '"compared":true');
});

t.test('pprof: Go reads it and finds the same', async (t) => {
  const rig = await rigWith(t, { hosts: () => ['h1'] });
  const { rawPayload } = await rig.api.inject(`${URL}?format=pprof`);
  t.ok(gunzipSync(rawPayload).length > 100);
  const file = join(rig.folder, 'web.pb.gz');
  await writeFile(file, rawPayload);
  const go = (...words: string[]) => spawnSync('go', ['tool', 'pprof', ...words, file], { encoding: 'utf8' });
  if (go('-top').error !== undefined) return t.comment('Go is not installed here');
  const top = go('-top', '-sample_index=samples').stdout;
  t.match(top, /Total samples = 100\b/);
  t.match(top, /60 60.00% +60.00% +60 60.00% +sixty/);
  t.match(top, /30 30.00% +90.00% +39 39.00% +thirty \/app\/x.js:7/);
  t.match(top, / 0 +0% .* 99 99.00% +work/);
  t.match(go('-top').stdout, /600ms 60.00%/);
  t.match(go('-peek=thirty').stdout, /do_page_fault/);
  t.match(go('-comments').stdout, /2 samples were lost/);
});

t.test('inlined functions: several lines of one location, and one text wherever they were inlined', async (t) => {
  const functions = [
    { name: 'step', file: 'web', calledAt: '/my src/x.c:12' },
    { name: 'step', file: 'web', calledAt: '/my src/x.c:19' },
    { name: 'sixty', file: 'web', calledAt: '/my src/x.c:30' },
    { name: 'work', file: 'web' },
    { name: 'main', file: 'web' },
  ];
  const stacks = [
    { frames: [0, 2, 3, 4], count: 6, seconds: 0.06 },
    { frames: [1, 2, 3, 4], count: 3, seconds: 0.03 },
    { frames: [3, 4], count: 1, seconds: 0.01 },
  ];
  const rig = await rigWith(t, {
    hosts: () => ['h1'],
    ask: async (_host, { kind, fromMs, toMs }) => ({ kind, fromMs, toMs, hertz: 99, lost: 0, functions, stacks }),
  });
  const collapsed = (await rig.api.inject(`${URL}?format=collapsed`)).body;
  t.equal(collapsed, 'main;work 1\nmain;work;sixty;step 9\n');
  const hot = (await rig.api.inject(`${URL}?format=functions`)).json<HotFunctionsView>();
  t.match(hot.functions[0], { name: 'step', selfSeconds: 0.09 });
  const page = (await rig.api.inject(`${URL}?format=html`)).body;
  const [, data = '', script = ''] = /id="data">(.*?)<\/script>\s*<script>(.*?)<\/script>/s.exec(page) ?? [];
  const titles = drawPage(data, script).boxes.map(({ title }) => title);
  t.match(titles.join('\n'), /step {2}\[web, inlined\]: 90.0 ms/);
  t.match(titles.join('\n'), /work {2}\[web\]: 100.0 ms/);
  const file = join(rig.folder, 'inlined.pb.gz');
  await writeFile(file, (await rig.api.inject(`${URL}?format=pprof`)).rawPayload);
  const go = (...words: string[]) => spawnSync('go', ['tool', 'pprof', ...words, file], { encoding: 'utf8' });
  if (go('-raw').error !== undefined) return t.comment('Go is not installed here');
  const raw = go('-raw').stdout;
  const location = /M=1 step \/?[^:]*:0.*\n +sixty \/my src\/x.c:12.*\n +work \/my src\/x.c:30.*\n/;
  t.match(raw, location, 'three functions at one place');
  t.match(go('-top', '-sample_index=samples').stdout, /9 90.00% +90.00% +9 90.00% +step \(inline\)/);
});

t.test('the page of a flame graph: no name can leave it, and its script draws', async (t) => {
  const rig = await rigWith(t, { hosts: () => ['h1'] });
  const { body, headers } = await rig.api.inject(`${URL}?format=html`);
  t.match(headers['content-security-policy'], /^sandbox allow-scripts; default-src 'none'/);
  t.notMatch(body, '<img');
  t.notMatch(body, /<(link|iframe|base)|@import|url\(/);
  t.equal(body.match(/<\/script>/g)?.length, 2);
  const [, data = '', script = ''] = /id="data">(.*?)<\/script>\s*<script>(.*?)<\/script>/s.exec(body) ?? [];
  const drawn = drawPage(data, script);
  t.same(
    drawn.boxes.map(({ title }) => title.split(':')[0]).sort(),
    [`${EVIL}  [evil]`, 'all', 'do_page_fault  [[kernel]]', 'sixty  [web]', 'thirty /app/x.js', 'work  [web]'].sort(),
  );
  t.match(drawn.boxes.find(({ title }) => title.startsWith('sixty'))?.title, /600.0 ms \(60.00 %\)/);
  drawn.boxes.find(({ title }) => title.startsWith('thirty'))?.onclick();
  t.equal(drawn.boxes.filter(({ style }) => style.width === '100%').length, 3, 'all, its caller and itself');
});

interface Box {
  title: string;
  style: Record<string, string>;
  onclick(): void;
}

/** Runs the page's script on as much of a browser as it needs. */
function drawPage(data: string, script: string): { boxes: Box[] } {
  const boxes: Box[] = [];
  const element = () => ({
    style: {} as Record<string, string>,
    classList: { add: () => undefined },
    textContent: '',
    value: '',
    append: (box: Box) => boxes.push(box),
    replaceChildren: () => boxes.splice(0),
  });
  const parts = new Map<string, ReturnType<typeof element>>();
  const part = (name: string) => {
    const known = parts.get(name) ?? element();
    parts.set(name, known);
    return known;
  };
  const document = {
    getElementById: () => ({ textContent: data }),
    querySelector: part,
    createElement: element,
    title: '',
  };
  runInContext(script, createContext({ document, JSON, Math }));
  return { boxes };
}
