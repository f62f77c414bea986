import t from 'tap';
import { LIMITS } from '../../protocol/limits.js';
import { parseManifest } from '../../protocol/manifest-parse.js';

/** Lines of a component "index" of app "search"; its first line is line 4 of the text. */
function inComponent(...lines: string[]): string {
  return ['app: search', 'components:', '  index:', ...lines.map((line) => `    ${line}`)].join('\n');
}
/** The same with the two lines that every component needs; what is given starts on line 6. */
function inValid(...lines: string[]): string {
  return inComponent('rootfs: host', 'command: [node, main.js]', ...lines);
}

interface Refusal {
  kind: string;
  text: string;
  line: number;
  column: number;
  path: string;
  message: RegExp;
}
const refusal = (kind: string, text: string, at: [number, number], path: string, message: RegExp): Refusal => ({
  kind,
  text,
  line: at[0],
  column: at[1],
  path,
  message,
});

const REFUSALS: Refusal[] = [
  refusal('empty text', '', [1, 1], '$', /expected a map of app and components, found nothing/),
  refusal('comment only', '# nothing\n', [1, 1], '$', /found nothing/),
  refusal('a list', '- app', [1, 1], '$', /expected a map of app and components, found a list of 1/),
  refusal('a text', 'hello', [1, 1], '$', /found the text "hello"/),
  refusal('syntax', 'app: search\ncomponents: {', [2, 14], '$', /not valid YAML: Flow map .* end with a }/),
  refusal('tab indentation', 'app: search\ncomponents:\n\tindex: 1', [3, 1], '$', /not valid YAML: .*[Tt]ab/),
  refusal('two documents', 'app: a\n---\napp: b', [2, 1], '$', /expected one YAML document, found a second one/),
  refusal('duplicate key', 'app: a\napp: b', [2, 1], '$.app', /each key once, found "app" a second time/),
  refusal('duplicate key of two types', 'app: a\n1: x\n"1": y', [3, 1], '$[1]', /expected each key once/),
  refusal(
    'duplicate key far in',
    inValid('state: none\n    state: none'),
    [7, 5],
    '$.components.index.state',
    /"state"/,
  ),
  refusal(
    'ref of a folder',
    inComponent('build: {from: ., ref: main}'),
    [4, 27],
    '$.components.index.build.ref',
    /no ref for the folder the text "\."/,
  ),
  refusal(
    'path out of the source',
    inComponent('build: {from: "https://a/b", path: x/../..}'),
    [4, 40],
    '$.components.index.build.path',
    /a folder inside, without "\.\."/,
  ),
  refusal(
    'ref like an option',
    inComponent('build: {from: "https://a/b", ref: --upload-pack}'),
    [4, 39],
    '$.components.index.build.ref',
    /a branch, tag or commit of letters/,
  ),
  refusal('probe of no port', inValid('ready: {tcp: web}'), [6, 12], '$.components.index.ready', /one of its ports/),
  refusal(
    'two questions',
    inValid('alive: {tcp: a, exec: [b]}'),
    [6, 5],
    '$.components.index.alive',
    /found tcp and exec/,
  ),
  refusal(
    'state shards of replicated state',
    inValid('state: {mode: replicated, shards: 4}'),
    [6, 39],
    '$.components.index.state.shards',
    /in one shard, whole in every instance/,
  ),
  refusal('cache of no server', inValid('state: cache'), [6, 12], '$.components.index.state', /exactly one of server/),
  refusal(
    'password in an address',
    inValid('state: {mode: cache, server: "redis://u:p@h:1"}'),
    [6, 34],
    '$.components.index.state.server',
    /^expected redis\[s\]:\/\/HOST.*without user and password, which stand beside it$/,
  ),
  refusal(
    'database of a cluster',
    inValid('state: {mode: cache, cluster: ["redis://a/1"]}'),
    [6, 36],
    '$.components.index.state.cluster[0]',
    /no database of a Redis Cluster, found 1/,
  ),
  refusal(
    'authority without TLS',
    inValid('state: {mode: cache, server: "redis://a", ca: cache-ca}'),
    [6, 51],
    '$.components.index.state.ca',
    /begin with rediss/,
  ),
  refusal(
    'shards of a cache',
    inValid('state: {mode: cache, server: "redis://a", shards: 8}'),
    [6, 55],
    '$.components.index.state.shards',
    /no shards, since state cache/,
  ),
  refusal(
    'near of no cache',
    inValid('state: {mode: partitioned, near: 1Mi}'),
    [6, 38],
    '$.components.index.state.near',
    /no near, since state partitioned is in no cache/,
  ),
  refusal('tag', 'app: !!binary aGk=', [1, 6], '$', /Unresolved tag/),
  refusal('map as key', '? {a: 1}\n: x', [1, 3], '$', /expected plain text as key/),
  refusal('deep nesting', '['.repeat(100_000), [1, 26], '$', /nesting of at most 24/),
  refusal('deep blocks', '- '.repeat(100_000), [1, 51], '$', /nesting of at most 24/),
  refusal('cycle', 'app: &a [*a]', [1, 9], `$.app${'[0]'.repeat(12)}`, /nesting of at most 24 levels/),
  refusal('unknown alias', 'app: *a', [1, 6], '$.app', /expected an anchor "&a"/),
  refusal('no app', 'components: {a: {image: x}}', [1, 1], '$.app', /expected the key "app", found a map of comp/),
  refusal('no components', 'app: a', [1, 1], '$.components', /expected the key "components"/),
  refusal('components empty', 'app: a\ncomponents: {}', [2, 13], '$.components', /1 to 64 components .*found an empty/),
  refusal('components absent', 'app: a\ncomponents:', [2, 12], '$.components', /1 to 64 components .*found nothing/),
  refusal(
    'app in capitals',
    'app: Search\ncomponents: {a: {image: x}}',
    [1, 6],
    '$.app',
    /lower-case.*found the text "Sea/,
  ),
  refusal('app is a number', 'app: 7\ncomponents: {a: {image: x}}', [1, 6], '$.app', /found the number 7/),
  refusal('name too long', `app: ${'a'.repeat(41)}\ncomponents: {a: {image: x}}`, [1, 6], '$.app', /at most 40/),
  refusal('name ends in hyphen', 'app: a-\ncomponents: {a: {image: x}}', [1, 6], '$.app', /not end with a hyphen/),
  refusal(
    'component name',
    'app: a\ncomponents:\n  a b: {image: x}',
    [3, 3],
    '$.components["a b"]',
    /found the text "a b"/,
  ),
  refusal('component is null', 'app: a\ncomponents:\n  x:', [3, 5], '$.components.x', /description of a component/),
  refusal(
    'unknown top key',
    'app: a\ncomponent: {}\ncomponents: {a: {image: x}}',
    [2, 1],
    '$.component',
    /"components"\?/,
  ),
  refusal('unknown key', inValid('objektive: 1'), [6, 5], '$.components.index.objektive', /did you mean "objective"\?/),
  refusal('unknown far key', inValid('zzzz: 1'), [6, 5], '$.components.index.zzzz', /found the key "zzzz"$/),
  refusal('__proto__', inValid('__proto__: 1'), [6, 5], '$.components.index.__proto__', /the key "__proto__"/),
  refusal('no source', inComponent('command: [x]'), [3, 3], '$.components.index', /one of rootfs.*found none of them/),
  refusal('two sources', inComponent('image: x', 'build: y'), [3, 3], '$.components.index', /found image and build/),
  refusal(
    'directory of image',
    inComponent('image: x', 'directory: y'),
    [5, 5],
    '$.components.index.rootfs',
    /"directory" needs/,
  ),
  refusal('rootfs, no command', inComponent('rootfs: host'), [4, 5], '$.components.index.command', /"rootfs" needs/),
  refusal('image empty', inComponent('image: ""'), [4, 12], '$.components.index.image', /found the text ""/),
  refusal(
    'command as text',
    inComponent('image: x', 'command: run it'),
    [5, 14],
    '$.components.index.command',
    /list of texts/,
  ),
  refusal('command empty', inComponent('image: x', 'command: []'), [5, 14], '$.components.index.command', /empty list/),
  refusal(
    'command part',
    inComponent('image: x', 'command: [sleep, 5]'),
    [5, 22],
    '$.components.index.command[1]',
    /number 5/,
  ),
  refusal(
    'NUL in command',
    inComponent('image: x', 'command: ["a\\0"]'),
    [5, 15],
    '$.components.index.command[0]',
    /a text/,
  ),
  refusal('env name', inValid('env: {1A: x}'), [6, 11], '$.components.index.env["1A"]', /variable name/),
  refusal('env null', inValid('env:', '  A:'), [7, 9], '$.components.index.env.A', /found nothing/),
  refusal('env map', inValid('env: {A: {}}'), [6, 14], '$.components.index.env.A', /found an empty map/),
  refusal('count text', inValid('count: "3"'), [6, 12], '$.components.index.count', /whole number.*found the text "3"/),
  refusal('count negative', inValid('count: -1'), [6, 12], '$.components.index.count', /found the number -1/),
  refusal('count fraction', inValid('count: 1.5'), [6, 12], '$.components.index.count', /found the number 1.5/),
  refusal('count too high', inValid('count: {max: 501}'), [6, 18], '$.components.index.count.max', /to 500/),
  refusal(
    'count min > max',
    inValid('count: {min: 3, max: 2}'),
    [6, 18],
    '$.components.index.count.min',
    /min 3 above max 2/,
  ),
  refusal('count key', inValid('count: {mim: 3}'), [6, 13], '$.components.index.count.mim', /did you mean "min"/),
  refusal(
    'cpu unit',
    inValid('size: {cpu: 250mm}'),
    [6, 17],
    '$.components.index.size.cpu',
    /"250m".*found the text "250mm"/,
  ),
  refusal('cpu zero', inValid('size: {cpu: 0}'), [6, 17], '$.components.index.size.cpu', /above 0/),
  refusal('cpu NaN', inValid('size: {cpu: .nan}'), [6, 17], '$.components.index.size.cpu', /found the number NaN/),
  refusal('cpu tiny', inValid('size: {cpu: 1m}'), [6, 17], '$.components.index.size.cpu', /cores from 0.01 to 1024/),
  refusal(
    'cpu min > max',
    inValid('size: {cpu: {min: 1, max: 500m}}'),
    [6, 23],
    '$.components.index.size.cpu.min',
    /above max 500m/,
  ),
  refusal('memory unit', inValid('size: {memory: 64MB}'), [6, 20], '$.components.index.size.memory', /"64Mi"/),
  refusal('memory tiny', inValid('size: {memory: 64}'), [6, 20], '$.components.index.size.memory', /from 4Mi to 16Ti/),
  refusal('objective empty', inValid('objective: {}'), [6, 16], '$.components.index.objective', /exactly one of/),
  refusal(
    'two objectives',
    inValid('objective: {queue: 1, utilisation: 0.5}'),
    [6, 16],
    '$.components.index.objective',
    /exactly one/,
  ),
  refusal(
    'spelling',
    inValid('objective: {utilization: 1}'),
    [6, 17],
    '$.components.index.objective.utilization',
    /"utilisation"/,
  ),
  refusal(
    'utilisation in %',
    inValid('objective: {utilisation: 70}'),
    [6, 30],
    '$.components.index.objective.utilisation',
    /share/,
  ),
  refusal(
    'latency bare',
    inValid('objective: {latency: {p99: 50}}'),
    [6, 32],
    '$.components.index.objective.latency.p99',
    /50ms/,
  ),
  refusal(
    'percentile',
    inValid('objective: {latency: {p100: 5ms}}'),
    [6, 27],
    '$.components.index.objective.latency.p100',
    /p99.9/,
  ),
  refusal(
    'latency 0',
    inValid('objective: {latency: {p99: 0ms}}'),
    [6, 32],
    '$.components.index.objective.latency.p99',
    /0.1ms to/,
  ),
  refusal(
    'state',
    inValid('state: shared'),
    [6, 12],
    '$.components.index.state',
    /partitioned.*found the text "shared"/,
  ),
  refusal(
    'partitioned from 0',
    inValid('state: partitioned', 'count: {min: 0}'),
    [7, 12],
    '$.components.index.count',
    /needs an owner/,
  ),
  refusal(
    'partitioned over 256',
    inValid('state: partitioned', 'count: 257'),
    [7, 12],
    '$.components.index.count',
    /at most 256/,
  ),
  refusal(
    'state shards of no number',
    inValid('state: {mode: partitioned, shards: 0}'),
    [6, 40],
    '$.components.index.state.shards',
    /from 1 to 1024/,
  ),
  refusal(
    'a limit of state without state',
    inValid('state: {mode: none, shards: 8}'),
    [6, 33],
    '$.components.index.state.shards',
    /no shards, since state none/,
  ),
  refusal(
    'state shards too small',
    inValid('state: {mode: partitioned, shardMemory: 1Ki}'),
    [6, 45],
    '$.components.index.state.shardMemory',
    /from 64Ki to 256Mi/,
  ),
  refusal('season', inValid('season: daily'), [6, 13], '$.components.index.season', /24h.*found the text "daily"/),
  refusal('season short', inValid('season: 1s'), [6, 13], '$.components.index.season', /from 10s to 4w/),
  refusal('call of none', inValid('calls: [indxe]'), [6, 13], '$.components.index.calls[0]', /did you mean "index"\?/),
  refusal(
    'call twice',
    inValid('calls: [index, index]'),
    [6, 20],
    '$.components.index.calls[1]',
    /found the text "index" again/,
  ),
  refusal('port no host', inValid('ports: [{name: http}]'), [6, 13], '$.components.index.ports[0].host', /key "host"/),
  refusal(
    'port 0',
    inValid('ports: [{name: http, host: 0}]'),
    [6, 32],
    '$.components.index.ports[0].host',
    /1 to 65535/,
  ),
  refusal(
    'port 65536',
    inValid('ports: [{name: a, host: 65536}]'),
    [6, 29],
    '$.components.index.ports[0].host',
    /number 65536/,
  ),
  refusal(
    'port taken',
    inValid('ports: [{name: agent, host: 1}]'),
    [6, 20],
    '$.components.index.ports[0].name',
    /other than agent/,
  ),
  refusal(
    'host port twice',
    inValid('ports: [{name: a, host: 1}, {name: b, host: 1}]'),
    [6, 49],
    '$.components.index.ports[1].host',
    /once in the app/,
  ),
  refusal(
    'port name twice',
    inValid('ports: [{name: a, host: 1}, {name: a, host: 2}]'),
    [6, 40],
    '$.components.index.ports[1].name',
    /once in a comp/,
  ),
  refusal(
    'JSON',
    '{"app": "a",\n "components": {"x": {"image": 5}}}',
    [2, 32],
    '$.components.x.image',
    /found the number 5/,
  ),
  refusal(
    'half a core for itself',
    inValid('exclusive: true\n    size: {cpu: 1500m}'),
    [7, 17],
    '$.components.index.size.cpu',
    /whole cores with exclusive, found 1.5/,
  ),
  refusal(
    'warm with cores for itself',
    inValid('exclusive: true\n    size: {cpu: 1}\n    warm: 1'),
    [8, 11],
    '$.components.index.warm',
    /no warm processes with exclusive, found 1/,
  ),
  refusal(
    'singleton of two',
    inValid('singleton: true\n    count: 2'),
    [7, 12],
    '$.components.index.count',
    /at most 1 for a singleton, found 2/,
  ),
  refusal(
    'singleton with state shards',
    inValid('singleton: true\n    state: partitioned'),
    [7, 12],
    '$.components.index.state',
    /state none for a singleton/,
  ),
  refusal(
    'priority',
    inValid('priority: 1001'),
    [6, 15],
    '$.components.index.priority',
    /0 to 1000, found the number 1001/,
  ),
  refusal(
    'mode',
    inValid('mode: dry'),
    [6, 11],
    '$.components.index.mode',
    /one of act and observe, found the text "dry"/,
  ),
  refusal('budget', inValid('budget: 4'), [6, 13], '$.components.index.budget', /a map of cpu/),
  refusal(
    'budget below the minimum',
    inValid('count: 4', 'size: {cpu: 1}', 'budget: {cpu: 3}'),
    [8, 19],
    '$.components.index.budget.cpu',
    /at least 4, which count min of the smallest size takes.*found the number 3/,
  ),
  refusal(
    'budget of the app below the minimum of its components',
    'app: a\nbudget: {cpu: 250m}\ncomponents: {a: {image: x}, b: {image: x, count: 2}}',
    [2, 15],
    '$.budget.cpu',
    /at least 0.3, .*found the text "250m"/,
  ),
  refusal('empty budget', 'app: a\nbudget: {}\ncomponents: {a: {image: x}}', [2, 1], '$.budget.cpu', /"cpu"/),
  refusal(
    'spread',
    inValid('place: {spread: rack}'),
    [6, 21],
    '$.components.index.place.spread',
    /one of host and zone/,
  ),
  refusal(
    'near none',
    inValid('place: {near: [indx]}'),
    [6, 20],
    '$.components.index.place.near[0]',
    /did you mean "index"/,
  ),
  refusal(
    'near and apart',
    inValid('place: {near: [index], apart: [index]}'),
    [6, 20],
    '$.components.index.place.near[0]',
    /not in apart too/,
  ),
  refusal(
    'label',
    inValid('place: {require: {disk: "a b"}}'),
    [6, 29],
    '$.components.index.place.require.disk',
    /a label/,
  ),
  refusal(
    'taint twice',
    inValid('place: {tolerate: [a, a]}'),
    [6, 27],
    '$.components.index.place.tolerate[1]',
    /none twice/,
  ),
];

t.ok(REFUSALS.length >= 35);
for (const { kind, text, line, column, path, message } of REFUSALS) {
  t.test(`refused with its place: ${kind}`, async (t) => {
    const result = parseManifest(text, 'app.yaml');
    if (result.ok) return t.fail('was accepted');
    const [first] = result.errors;
    t.match(first?.message, message);
    t.strictSame([first?.file, first?.line, first?.column, first?.path], ['app.yaml', line, column, path]);
    t.equal(result.errors.length, 1, `only one error: ${JSON.stringify(result.errors)}`);
  });
}

t.test('a text over the limit is refused unread', async (t) => {
  const result = parseManifest(`# ${'x'.repeat(LIMITS.manifestBytesMax)}`, 'app.yaml');
  t.match(result, {
    ok: false,
    errors: [{ line: 1, column: 1, message: /expected at most 262144 bytes, found 262146/ }],
  });
});

t.test('an alias bomb is refused quickly', async (t) => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 12; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    );
  const result = parseManifest(lines.join('\n'), 'app.yaml');
  t.match(result, { ok: false, errors: [{ message: /aliases/ }] });
});

t.test('all problems are told at once, in the order of the text, at most 50', async (t) => {
  const lines = Array.from({ length: 80 }, (_, i) => `bad${i}: 1`);
  const result = parseManifest(inValid('count: x', ...lines), 'app.yaml');
  if (result.ok) return t.fail('was accepted');
  t.equal(result.errors.length, 50);
  t.strictSame(
    result.errors.map((error) => error.line),
    Array.from({ length: 50 }, (_, i) => i + 6),
  );
});
