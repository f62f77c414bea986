import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Paths } from '../../agent/paths.js';
import type { BuildSource, Component } from '../../protocol/manifest.js';
import { AgentRig, component, instance, runs } from './rig.js';

/** A component of the source; its command is the image's. */
function builds(build: string, change: Partial<BuildSource> = {}): Component {
  return component('x', { source: { kind: 'build', build, ...change }, command: [] });
}

async function project(t: Tap, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp('/run/shoal-project-');
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await put(folder, files);
  return folder;
}
type Tap = Pick<typeof t, 'teardown'>;

async function put(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

const NODE = {
  'package.json': JSON.stringify({
    name: 'shop',
    version: '1.0.0',
    scripts: { build: 'node make.js', start: 'node made.js' },
  }),
  'make.js': `require('fs').writeFileSync('made.js', 'console.log("made by", process.getuid()); setInterval(() => {}, 1000)')`,
};

t.test('a Node project and a Containerfile are built and run; a step that fails is named and told', async (t) => {
  const node = await project(t, NODE);
  const own = await project(t, {
    Containerfile: 'FROM scratch\nCOPY busybox hello /\nCMD ["/busybox", "cat", "/hello"]\n',
    hello: 'hi\n',
  });
  execFileSync('cp', ['/bin/busybox', own]);
  const bad = await project(t, { ...NODE, 'make.js': 'console.log("no luck today"); process.exit(3)' });
  const none = await project(t, { 'README.md': 'x' });
  const rig = await AgentRig.make();
  const apps = {
    t: { node: builds(node), own: builds(own), bad: builds(bad), none: builds(none), away: builds('/no/such') },
  };
  rig.desire(() => ({ apps, instances: [] }));
  const build = (name: string) => rig.builds.findLast((each) => each.component === name);
  await rig.until(
    'all builds have ended',
    () => Object.keys(apps.t).every((each) => (build(each)?.endedMs ?? 0) > 0),
    60_000,
  );
  t.match(build('node'), { state: 'built', revision: /^[0-9a-f]{64}$/, why: '' });
  t.match(build('bad'), { state: 'failed', why: /^step \d+\/\d+ RUN npm run build: .*no luck today/ });
  t.match(build('none'), { state: 'failed', why: /step detect: there is none of Containerfile/ });
  t.match(build('away'), { state: 'failed', why: /step fetch: there is no folder \/no\/such/ });
  const log = await readFile(join(rig.run, 'builds', build('bad')?.id ?? '', 'log'), 'utf8');
  t.match(log, /^\d{4}-\S+Z stdout STEP .*RUN npm run build$/m);
  t.match(log, / stdout no luck today$/m);
  t.match(log, /stderr failed: step .*RUN npm run build/);

  const site = await project(t, { 'index.html': 'the page', '.secret': 'hidden' });
  const ports = [{ name: 'http', host: 18_392 }];
  const pinned = {
    t: {
      node: builds(node, { revision: build('node')?.revision ?? '' }),
      own: builds(own),
      site: { ...builds(site), ports },
    },
  };
  const instances = [instance('node', 0), instance('own', 0), instance('site', 0)];
  rig.desire(() => ({ apps: pinned, instances }));
  await rig.until('files are served', () => rig.status('t-site-0')?.phase === 'ready', 60_000);
  t.equal(await (await fetch('http://127.0.0.1:18392/')).text(), 'the page');
  t.equal((await fetch('http://127.0.0.1:18392/.secret')).status, 404);
  await rig.until('the Node project runs', () => rig.status('t-node-0')?.phase === 'ready');
  const said = (id: string) => readFile(join(rig.run, 'instances', id, 'log'), 'utf8').catch(() => '');
  t.match(await said('t-node-0'), /made by 0/);
  await rig.until('the Containerfile has run', () => (rig.status('t-own-0')?.restarts ?? 0) > 0);
  t.match(await said('t-own-0'), /stdout hi$/m);
  t.same(await rig.close(), []);
});

t.test(
  'a repository is built at its ref; a new commit is noticed when somebody asks; the same commit gives the same image',
  async (t) => {
    const folder = await project(t, {
      'site/index.html': 'one',
      'site/package.json': '{"name":"a","main":"a.js"}',
      'site/a.js': '',
    });
    const git = (...words: string[]) =>
      execFileSync('git', ['-C', folder, '-c', 'user.name=a', '-c', 'user.email=a@b', ...words], { stdio: 'pipe' })
        .toString()
        .trim();
    git('init', '--quiet', '--initial-branch', 'main');
    git('add', '.');
    git('commit', '--quiet', '-m', 'one');
    const first = git('rev-parse', 'HEAD');
    const source = { kind: 'build' as const, build: `file://${folder}`, ref: 'main', path: 'site' };
    const digests: string[][] = [];
    for (const round of [1, 2]) {
      const rig = await AgentRig.make();
      rig.desire(() => ({ apps: { t: { x: component('x', { source, command: [] }) } }, instances: [] }));
      await rig.until(
        'it is built',
        () => rig.builds.some(({ revision, state }) => revision === first && state === 'built'),
        60_000,
      );
      const names = await readdir(join(rig.run, 'images/images'));
      const records = await Promise.all(names.map((name) => readFile(join(rig.run, 'images/images', name), 'utf8')));
      digests.push(records.map((text) => (JSON.parse(text) as { manifest: string }).manifest));
      if (round === 2) {
        await put(folder, { 'site/a.js': '// two' });
        git('commit', '--quiet', '-am', 'two');
        const second = git('rev-parse', 'HEAD');
        rig.desire(() => ({ apps: { t: { x: component('x', { source: { ...source, looks: 1 }, command: [] }) } } }));
        await rig.until(
          'the new commit is built',
          () => rig.builds.some(({ revision, state }) => revision === second && state === 'built'),
          60_000,
        );
      }
      t.same(await rig.close(), []);
    }
    t.equal(digests[0]?.length, 1);
    t.strictSame(digests[0], digests[1], 'the same commit, the same digest');
  },
);

t.test(
  'agent and build are killed in the middle of a step: nothing of it goes on, and the next agent builds it',
  async (t) => {
    const folder = await project(t, {
      ...NODE,
      'make.js': `setTimeout(() => require('fs').writeFileSync('made.js', ''), 3000)`,
    });
    const rig = await AgentRig.make();
    rig.desire(() => ({ apps: { t: { x: builds(folder) } }, instances: [] }));
    const last = () => rig.builds.at(-1);
    await rig.until('the step runs', () => /RUN npm run build/.test(last()?.step ?? ''), 60_000);
    const procs = `/sys/fs/cgroup/shoal/${new Paths(rig.run).runHash}/build/cgroup.procs`;
    const pids = (await inAgent(rig, ['cat', procs])).split('\n').filter(Boolean).map(Number);
    t.ok(pids.length > 1, 'the step runs in the cgroup of builds');
    await rig.killAgent('SIGKILL');
    rig.builds = [];
    rig.startAgent();
    await rig.until('it is built', () => last()?.state === 'built', 60_000);
    for (const pid of pids) t.notOk(await runs(pid), `process ${pid} has ended`);
    t.same(await readdir(join(rig.run, 'images/partial')), []);
    t.same(await readdir(join(rig.run, 'images/builds/work')), []);
    t.same(await rig.close(), []);
  },
);

t.test(
  'builds are cancelled, in a step and while one waits: nothing is left of them, and what runs goes on',
  async (t) => {
    const page = await project(t, { 'index.html': 'the page' });
    const slow = await project(t, { ...NODE, 'make.js': 'setTimeout(() => undefined, 600000)' });
    const waits = await project(t, NODE);
    const rig = await AgentRig.make();
    const last = (name: string) => rig.builds.findLast((each) => each.component === name);
    const logOf = (name: string) => readFile(join(rig.run, 'builds', last(name)?.id ?? '', 'log'), 'utf8');
    const cancel = (...names: string[]) => {
      const all = Object.entries({ page, slow, waits }).map(([name, folder]): [string, Component] => {
        const change = names.includes(name) ? { cancelled: last(name)?.revision ?? '' } : {};
        return [name, builds(folder, change)];
      });
      rig.desire(() => ({ apps: { t: Object.fromEntries(all) }, instances: [instance('page', 0)] }));
    };
    cancel();
    await rig.until('a step runs', () => /RUN npm run build/.test(last('slow')?.step ?? ''), 60_000);
    await rig.until('another build waits for it', () => /^wait for \d/.test(last('waits')?.step ?? ''));
    await rig.until('the page runs', () => rig.status('t-page-0')?.phase === 'ready', 60_000);
    const cgroup = `/sys/fs/cgroup/shoal/${new Paths(rig.run).runHash}/build`;
    const pids = (await inAgent(rig, ['cat', `${cgroup}/cgroup.procs`])).split('\n').filter(Boolean).map(Number);
    t.ok(pids.length > 1);

    cancel('waits');
    await rig.until('the one that waits is cancelled', () => last('waits')?.state === 'cancelled', 5_000);
    t.equal(last('slow')?.state, 'building', 'it alone');
    cancel('waits', 'slow');
    await rig.until('the other one too', () => last('slow')?.state === 'cancelled');
    for (const name of ['waits', 'slow']) t.match(await logOf(name), /stderr cancelled: it is no longer wanted\n$/);
    for (const pid of pids) t.notOk(await runs(pid), `process ${pid} has ended`);
    await t.rejects(inAgent(rig, ['ls', cgroup]), 'its cgroup is gone');
    t.notMatch(await inAgent(rig, ['cat', '/proc/self/mounts']), join(rig.run, 'images/builds'), 'no mount is left');
    t.same(await readdir(join(rig.run, 'images/partial')), []);
    t.same(await readdir(join(rig.run, 'images/builds')), ['work']);
    t.same(await readdir(join(rig.run, 'images/builds/work')), []);
    t.match(rig.status('t-page-0'), { phase: 'ready', restarts: 0 });

    cancel('slow');
    rig.desire(({ apps }) => ({ apps: { t: { ...apps.t, waits: builds(waits, { looks: 1 }) } } }));
    await rig.until('it is built once somebody asks', () => last('waits')?.state === 'built', 60_000);
    t.equal(last('slow')?.state, 'cancelled');
    t.same(await rig.close(), []);
  },
);

/** The agent's own view of the host, in its mount namespace. */
async function inAgent(rig: AgentRig, words: string[]): Promise<string> {
  const [pid] = await rig.agentPids();
  return execFileSync('nsenter', ['--mount', '--target', String(pid), ...words]).toString();
}

t.test('what one host has built another one takes from it, also where the sources are not', async (t) => {
  const folder = await project(t, {
    Containerfile: 'FROM scratch\nCOPY busybox hello /\nCMD ["/busybox", "sleep", "1000"]\n',
    hello: 'hi\n',
  });
  execFileSync('cp', ['/bin/busybox', folder]);
  const first = await AgentRig.make('--name', 'h1');
  first.desire(() => ({ apps: { t: { x: builds(folder) } }, instances: [] }));
  await first.until('it is built', () => first.builds.at(-1)?.state === 'built', 60_000);
  const { id, revision, image } = first.builds.at(-1) as { id: string; revision: string; image: string };
  t.match(image, /^sha256:[0-9a-f]{64}$/);
  // As where no such folder is: the second host can have it from the first alone.
  await rm(folder, { recursive: true });

  const second = await AgentRig.make('--name', 'h2');
  let asked = 0;
  second.built = () => {
    asked += 1;
    if (asked === 1) return { hosts: [], builder: 'h1' };
    return { hosts: [{ host: 'h1', address: first.hello?.host.fabric ?? '' }], manifest: image };
  };
  second.desire(() => ({ apps: { t: { x: builds(folder, { revision }) } }, instances: [instance('x', 0)] }));
  await second.until('it runs on the second host', () => second.status('t-x-0')?.phase === 'ready', 60_000);
  t.ok(asked >= 2, 'it has waited for the host that builds');
  t.ok(second.askedFor.includes(`build:${id}`));
  await second.until('it is told', () => second.events.some(({ kind }) => kind === 'image'));
  const told = second.events.find(({ kind }) => kind === 'image')?.message;
  t.match(told, `revision ${revision.slice(0, 12)}: 1 layer, 1 from h1, `);
  t.match(second.images, { fromHosts: { blobs: 3 }, fromSources: { blobs: 0 } });
  t.same(await readdir(join(second.run, 'builds')).catch(() => []), [], 'no build has a log there');
  for (const rig of [first, second]) t.same(await rig.close(), []);
});
