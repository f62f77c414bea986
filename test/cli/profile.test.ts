import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { HotFunctionsView } from '../../protocol/http.js';
import { componentView, FakeCoordinator, hostView } from './fake-coordinator.js';
import { runCli } from './run-cli.js';

const PATH = 'GET /v1/profiles/shop/web';
const HOT: HotFunctionsView = {
  app: 'shop',
  component: 'web',
  kind: 'cpu',
  fromMs: 0,
  toMs: 10_000,
  hertz: 99,
  lost: 3,
  missing: [{ host: 'rack2', why: 'an old kernel' }],
  functions: [
    {
      name: 'work\u001b[31m',
      file: 'web',
      count: 75,
      selfSeconds: 0.75,
      totalSeconds: 1,
      baseSelfSeconds: 0.1,
      baseTotalSeconds: 1,
    },
    {
      name: 'main',
      file: 'web',
      count: 25,
      selfSeconds: 0.25,
      totalSeconds: 1,
      baseSelfSeconds: 0.3,
      baseTotalSeconds: 1,
    },
  ],
};

async function start(test: { teardown(action: () => Promise<void>): void }): Promise<FakeCoordinator> {
  const fake = await FakeCoordinator.start();
  test.teardown(() => fake.stop());
  return fake.json(PATH, HOT);
}

const run = (fake: FakeCoordinator, ...words: string[]) =>
  runCli(['profile', ...words], { env: { SHOAL_SERVER: fake.url } });

t.test('the hottest functions, and what is missing of them', async (t) => {
  const fake = await start(t);
  const { code, out, err } = await run(fake, 'shop/web', '--last', '10m');
  t.equal(code, 0, err);
  t.match(out, /^ *SELF +TOTAL +TIME +IN +FUNCTION\n *75.0% +100.0% +750ms +web +work/);
  t.notMatch(out, '\u001b', 'a name from a container moves no cursor');
  t.match(err, /3 samples were lost\nhost rack2 is not in it: an old kernel/);
  const query = new URLSearchParams(fake.seen[0]?.url.split('?')[1]);
  t.equal(Date.parse(query.get('to') ?? '') - Date.parse(query.get('from') ?? ''), 600_000);
  t.equal(query.get('format'), 'functions');
  const base = ['--base-from', '2026-11-23T08:00Z', '--base-to', '2026-11-23T09:00Z'];
  const compared = await run(fake, 'shop/web', '--last', '1h', '--off-cpu', ...base);
  t.match(compared.out, /SELF +BEFORE +TOTAL.*\n *75.0% +25.0% /);
  t.match(fake.seen[1]?.url, /baseFrom=2026-11-23T08%3A00%3A00.000Z&.*kind=off-cpu/);
  t.match(JSON.parse((await run(fake, 'shop/web', '--last', '1h', '--json')).out), { lost: 3 });
});

t.test('a file in the format that its name says', async (t) => {
  const fake = await start(t);
  const bytes = Buffer.from([0x1f, 0x8b, 0xff, 0x00, 0xfe]);
  fake.on(PATH, (_, response) => response.end(bytes));
  const folder = await mkdtemp(join(tmpdir(), 'shoal-cli-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const formats = { 'a.pb.gz': 'pprof', 'a.txt': 'collapsed', 'a.html': 'html', 'a.json': 'json' };
  for (const [name, format] of Object.entries(formats)) {
    const file = join(folder, name);
    const { out } = await run(fake, 'shop/web', '--last', '10s', '-o', file);
    t.match(out, `${file}: ${format}, 5 bytes`);
    t.same(await readFile(file), bytes, 'byte by byte');
    t.match(fake.seen.at(-1)?.url, `format=${format}`);
  }
  const other = join(folder, 'other');
  t.equal((await run(fake, 'shop/web', '--last', '10s', '-o', other, '--format', 'html')).code, 0);
  t.match(await run(fake, 'shop/web', '--last', '10s', '-o', join(folder, 'no/a.txt')), {
    code: 2,
    err: /cannot write/,
  });
});

t.test('what is wrong is said before anything is waited for', async (t) => {
  const fake = await start(t);
  const wrong: [string[], RegExp][] = [
    [['web'], /names no component/],
    [['shop/web', '--seconds', '0'], /--seconds must be a whole number/],
    [['shop/web', '--seconds', '5', '--last', '1m'], /one of --seconds, --last and --from/],
    [['shop/web', '--last', 'soon'], /--last must be a span/],
    [['shop/web', '--to', '2026-11-23T08:00'], /--to needs --from/],
    [['shop/web', '--from', 'yesterday'], /--from must be a date and time/],
    [['shop/web', '--base-from', '2026-11-23T08:00'], /both --base-from and --base-to/],
    [['shop/web', '-o', 'profile'], /says no format/],
    [['shop/web', '--format', 'html'], /name a file by -o/],
  ];
  for (const [words, message] of wrong) t.match(await run(fake, ...words), { code: 2, err: message }, words.join(' '));
  t.same(fake.seen, []);
  fake.problem(PATH, 'SHOAL_E_HOST', 'no profiles: an old kernel');
  t.match(await run(fake, 'shop/web', '--last', '1m'), { code: 6, err: /old kernel/ });
});

t.test('the live view of one component shows its functions, of several it does not', async (t) => {
  const fake = await start(t);
  const component = componentView({ app: 'shop', component: 'web' });
  fake
    .json('GET /v1/hosts', [hostView()])
    .json('GET /v1/apps', [])
    .json('GET /v1/instances', [])
    .json('GET /v1/events', []);
  fake.json('GET /v1/apps/shop/components', [component]).json('GET /v1/apps/shop/components/web', component);
  const top = (of: string) => runCli(['top', of, '--once'], { env: { SHOAL_SERVER: fake.url } });
  t.match((await top('shop/web')).out, /FUNCTION\n *75.0%/);
  t.notMatch((await top('shop')).out, /FUNCTION/);
  fake.problem(PATH, 'SHOAL_E_HOST', 'an old kernel');
  const without = await top('shop/web');
  t.equal(without.code, 0);
  t.notMatch(without.out, /FUNCTION/);
});
