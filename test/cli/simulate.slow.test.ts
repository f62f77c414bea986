import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { runCli } from './run-cli.js';

const TRACE = `time,value\n${Array.from({ length: 11 }, (_, i) => `${i * 60},${5 + (i % 3)}`).join('\n')}\n`;
const APP = `app: shop
components:
  front:
    rootfs: host
    command: [x]
    calls: [stock]
    count: { min: 1, max: 40 }
    objective: { latency: { p99: 100ms } }
  stock:
    rootfs: host
    command: [x]
    count: { min: 1, max: 40 }
`;
const LOAD = `entry: front
components:
  front: { cpu: 4ms, calls: { stock: 2 } }
  stock: { cpu: 2ms, variation: 0.5 }
`;

t.test('simulate prints a table, JSON and a page', { timeout: 200_000 }, async (t) => {
  const folder = t.testdir({ 'load.csv': TRACE });
  const all = ['simulate', '--trace', 'load.csv', '--compare', '--scale', '4', '--engine', 'flow'];
  const table = await runCli(all, { cwd: folder });
  t.match(table, { code: 0, err: '' });
  for (const policy of ['shoal', 'hpa', 'kpa', 'static', 'oracle']) t.match(table.out, `\n${policy} `);
  t.notMatch(table.out, '…', 'what another program reads is whole');
  const words = [
    'simulate',
    '--trace',
    'load.csv',
    '--scale',
    '3',
    '--policy',
    'hpa,kpa',
    '--html',
    'page.html',
    '--json',
  ];
  const json = await runCli(words, { cwd: folder });
  const runs = JSON.parse(json.out);
  t.match(runs, [
    { policy: 'hpa', engine: 'events', components: [{ component: 'web', minutes: 10 }] },
    { policy: 'kpa', seed: 1 },
  ]);
  t.match(await runCli(words, { cwd: folder }), { out: json.out }, 'the same again');
  const page = readFileSync(`${folder}/page.html`, 'utf8');
  t.match(page, /<svg[\s\S]*<path class="allotted" d="M/);
  t.notMatch(page, /(src|href)=/, 'needs no other file');
  t.notMatch(page, 'NaN');
});

t.test('a whole app: its manifest, and the work of its components', { timeout: 200_000 }, async (t) => {
  const folder = t.testdir({ 'load.csv': TRACE, 'shoal.yaml': APP, 'work.yaml': LOAD });
  const words = [
    'simulate',
    '--trace',
    'load.csv',
    '--app',
    'shoal.yaml',
    '--workload',
    'work.yaml',
    '--scale',
    '3',
    '--json',
  ];
  const { code, out } = await runCli([...words, '--policy', 'static,shoal'], { cwd: folder });
  t.equal(code, 0);
  for (const { components } of JSON.parse(out)) {
    const [front, stock] = components;
    t.match(
      [front, stock],
      [
        { component: 'front', goal: { targetMs: 100 } },
        { component: 'stock', goal: { targetMs: 20 } },
      ],
    );
    t.ok(Math.abs(stock.requests / front.requests - 2) < 0.02, 'two calls for each request');
    t.ok(front.p50Ms > stock.p50Ms + 4, 'who waits for others takes longer than they');
  }
  for (const [change, said] of [
    [LOAD.replace('entry: front', 'entry: shop'), 'work.yaml:1:1: entry: expected the name'],
    [LOAD.replace('4ms', '4'), 'work.yaml:3:12: components.front.cpu: expected a time'],
    [LOAD.replace('stock: 2 }', 'shelf: 2 }'), 'work.yaml:3:31: components.front.calls.shelf: unknown name'],
    [LOAD.replace('variation: 0.5', 'calls: { front: 1 }'), 'go round in a circle'],
    [LOAD.replace('variation: 0.5', 'variation: -1'), 'components.stock.variation: expected 0 to 10'],
    [LOAD.replace('entry: front', 'entry: stock'), 'the entry must be called by nobody'],
    ['a: [', 'work.yaml:1:'],
  ] as const) {
    writeFileSync(`${folder}/work.yaml`, change);
    const refused = await runCli(words, { cwd: folder });
    t.equal(refused.code, 2);
    t.match(refused.err, said);
  }
});

t.test('wrong input is refused with what, where and remedy', { timeout: 200_000 }, async (t) => {
  const folder = t.testdir({ 'load.csv': TRACE, 'bad.csv': 'time,value\n0,1\n60,many\n', 'short.csv': '0,1\n5,1\n' });
  for (const [words, said] of [
    [['--trace', 'bad.csv'], 'bad.csv:3: "many" is no number; leave the field empty for a gap'],
    [['--trace', 'none.csv'], 'cannot read none.csv'],
    [['--trace', 'short.csv'], 'the trace is 5 s long'],
    [['--trace', 'load.csv', '--policy', 'vpa'], 'there is no "vpa"; take of shoal'],
    [['--trace', 'load.csv', '--scale', '0'], '--scale must be a whole number'],
    [['--trace', 'load.csv', '--noise', 'x'], '--noise must be a number'],
    [['--trace', 'load.csv', '--app', 'x.yaml'], '--app and --workload go together'],
    [['--trace', 'load.csv', '--fail-host-at', '5:moon'], 'there is no host moon'],
    [['--trace', 'load.csv', '--fail-host-at', '1:2:3'], 'is not SECONDS or SECONDS:HOST'],
    [['--trace', 'load.csv', '--from', '700'], '--from must be a number'],
    [['--trace', 'load.csv', '--policy', 'static', '--html', '/nowhere/x'], 'cannot write /nowhere/x'],
    [[], '--trace'],
  ] as const) {
    const { code, out, err } = await runCli(['simulate', ...words], { cwd: folder });
    t.match({ code, out }, { code: 2, out: '' }, words.join(' '));
    t.match(err, said);
  }
});
