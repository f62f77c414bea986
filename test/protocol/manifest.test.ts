import { readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import type { Cache, Component, Manifest, Partition } from '../../protocol/manifest.js';
import { toUserForm } from '../../protocol/manifest-format.js';
import { formatManifestError, parseManifest, resolveDirectories } from '../../protocol/manifest-parse.js';
import { MANIFEST_SCHEMA } from '../../protocol/manifest-schema.js';
import { parseCpu, parseMemory, parseTimeMs } from '../../protocol/manifest-units.js';

const FULL = `
app: search
components:
  index:
    rootfs: host
    directory: ./index
    command: [node, main.js]
    env: { VERSION: 1.10, DEBUG: true, NAME: "x" }
    count: { min: 1, max: 4 }
    size: { cpu: { min: 250m, max: 2 }, memory: 64Mi }
    objective: { latency: { p99.9: 50ms } }
    state: { mode: partitioned, shards: 128, shardMemory: 64Mi, value: 2Mi }
    season: 24h
    calls: [store]
    ports: [{ name: http, host: 8080 }]
  store:
    image: docker.io/library/redis:7
    count: 0
    season: "off"
`;

t.test('every part of a manifest is read', async (t) => {
  const result = parseManifest(FULL, 'app.yaml');
  t.strictSame(result, {
    ok: true,
    manifest: {
      app: 'search',
      components: {
        index: {
          source: { kind: 'rootfs', rootfs: 'host', directory: './index' },
          command: ['node', 'main.js'],
          env: { VERSION: '1.10', DEBUG: 'true', NAME: 'x' },
          count: { min: 1, max: 4 },
          size: { cpu: { min: 0.25, max: 2 }, memory: { min: 67_108_864, max: 67_108_864 } },
          objective: { kind: 'latency', percentile: 99.9, targetMs: 50 },
          state: 'partitioned',
          partition: { shards: 128, shardBytesMax: 67_108_864, valueBytesMax: 2_097_152 },
          calls: ['store'],
          ports: [{ name: 'http', host: 8080 }],
          seasonSeconds: 86_400,
        },
        store: {
          source: { kind: 'image', image: 'docker.io/library/redis:7' },
          command: [],
          env: {},
          count: { min: 0, max: 0 },
          size: { cpu: { min: 0.1, max: 1 }, memory: { min: 67_108_864, max: 536_870_912 } },
          objective: { kind: 'utilisation', target: 0.7 },
          state: 'none',
          calls: [],
          ports: [],
          seasonSeconds: 0,
        },
      },
    },
  });
});

t.test(
  'priority and place: as written, the rest of place by its defaults, the same again from its own form',
  async (t) => {
    const text = '{app: a, components: {x: {image: y, priority: 0, place: {apart: [x]}}, z: {image: y}}}';
    const result = parseManifest(text, 'a');
    if (!result.ok) return t.fail('was refused');
    const { x, z } = result.manifest.components;
    t.equal(x?.priority, 0);
    t.strictSame(x?.place, { spread: 'host', near: [], apart: ['x'], require: {}, tolerate: [] });
    t.strictSame([z?.priority, z?.place], [undefined, undefined]);
    t.strictSame(parseManifest(JSON.stringify(toUserForm(result.manifest)), 'a'), result);
  },
);

t.test('budgets and mode: as written, absent by default, the same again from their own form', async (t) => {
  const text = `{app: a, budget: {cpu: 8}, components: {
    x: {image: y, budget: {cpu: 2500m}, mode: observe, count: {min: 5}, size: {cpu: 500m}}, z: {image: y}}}`;
  const result = parseManifest(text, 'a');
  if (!result.ok) return t.fail(result.errors.map(formatManifestError).join());
  const { x, z } = result.manifest.components;
  t.strictSame([result.manifest.budget, x?.budget, x?.mode], [{ cpu: 8 }, { cpu: 2.5 }, 'observe']);
  t.strictSame([z?.budget, z?.mode], [undefined, undefined]);
  t.strictSame(parseManifest(JSON.stringify(toUserForm(result.manifest)), 'a'), result);
});

t.test('a default gives way to the end of a range that is given', async (t) => {
  const text = '{app: a, components: {x: {image: y, count: {min: 20}, size: {cpu: {max: 50m}}}}}';
  const result = parseManifest(text, 'a');
  t.match(result, {
    manifest: { components: { x: { count: { min: 20, max: 20 }, size: { cpu: { min: 0.05, max: 0.05 } } } } },
  });
});

t.test('anchors and aliases save writing', async (t) => {
  const text = 'app: a\ncomponents:\n  x: {image: &i y, env: &e {A: 1}}\n  z: {image: *i, env: *e}';
  const result = parseManifest(text, 'a');
  t.match(result, { manifest: { components: { z: { source: { image: 'y' }, env: { A: '1' } } } } });
});

t.test('units', async (t) => {
  t.strictSame(['250m', '0.25', 0.25, '1500m', 'm', '1k'].map(parseCpu), [
    0.25,
    0.25,
    0.25,
    1.5,
    Number.NaN,
    Number.NaN,
  ]);
  t.strictSame(['1', '1k', '1Ki', '1.5Mi', '2G', 7, '1mi'].map(parseMemory), [
    1,
    1000,
    1024,
    1_572_864,
    2_000_000_000,
    7,
    Number.NaN,
  ]);
  t.strictSame(['50ms', '1.5s', '2m', '24h', '7d', '5'].map(parseTimeMs), [
    50,
    1500,
    120_000,
    86_400_000,
    604_800_000,
    Number.NaN,
  ]);
});

t.test('relative paths are resolved, addresses and absolute paths are not', async (t) => {
  const source = (text: string) => {
    const result = parseManifest(`{app: a, components: {x: {${text}, command: [x]}}}`, 'a');
    if (!result.ok) throw new Error(result.errors.map(formatManifestError).join('\n'));
    return resolved(result.manifest);
  };
  const resolved = (manifest: Manifest) => resolveDirectories(manifest, '/srv/app').components.x?.source;
  const built = (build: string) => {
    const result = parseManifest('{app: a, components: {x: {image: x}}}', 'a');
    if (!result.ok || result.manifest.components.x === undefined) throw new Error('was refused');
    return resolved({
      app: 'a',
      components: { x: { ...result.manifest.components.x, source: { kind: 'build', build } } },
    });
  };
  t.strictSame(source('rootfs: host, directory: ./d'), { kind: 'rootfs', rootfs: 'host', directory: '/srv/app/d' });
  t.strictSame(source('rootfs: ../r'), { kind: 'rootfs', rootfs: '/srv/r' });
  t.strictSame(source('rootfs: /r'), { kind: 'rootfs', rootfs: '/r' });
  t.strictSame(built('.'), { kind: 'build', build: '/srv/app' });
  t.strictSame(built('https://example.org/a.git'), { kind: 'build', build: 'https://example.org/a.git' });
  t.strictSame(built('git@example.org:a/b'), { kind: 'build', build: 'git@example.org:a/b' });
  t.strictSame(source('build: {from: ../a, path: b/c}'), { kind: 'build', build: '/srv/a', path: 'b/c' });
  t.strictSame(source('image: ./x'), { kind: 'image', image: './x' });
});

t.test('an error prints on one line as compilers print them', async (t) => {
  const result = parseManifest('app: a\ncomponents: {x: {image: 5}}', 'app.yaml');
  if (result.ok) return t.fail('was accepted');
  t.strictSame(result.errors.map(formatManifestError), [
    'app.yaml:2:25: $.components.x.image: expected the reference of an OCI image, found the number 5',
  ]);
});

t.test('io: bytes and operations in a second, at least one of them', async (t) => {
  const parse = (io: object) => {
    const components = { one: { rootfs: 'host', command: ['x'], io } };
    const result = parseManifest(JSON.stringify({ app: 'a', components }), 'f');
    return result.ok ? result.manifest.components.one?.io : result.errors.map(({ message }) => message);
  };
  t.same(parse({ read: '50Mi', writeOps: 3 }), { readBytes: 50 * 2 ** 20, writeOps: 3 });
  const least = 'expected at least one of read, write, readOps and writeOps, found a map of devices';
  t.same(parse({ devices: ['/dev/vda'] }), [least]);
  t.same(parse({ read: 1 }), ['expected bytes in a second from 4Ki to 1Ti, found the number 1']);
  t.match(parse({ read: '1Mi', devices: ['vda'] }), [/a disk such as \/dev\/vda/]);
});

t.test('limits and copies of replicated state are written out as they were read', async (t) => {
  for (const given of [{ replicas: 0 }, { replicas: 2 }, { shardMemory: '1Mi' }, {}]) {
    const component = {
      rootfs: 'host',
      directory: 'd',
      command: ['c'],
      count: 2,
      state: { mode: 'replicated', ...given },
    };
    const parsed = parseManifest(JSON.stringify({ app: 'a', components: { c: component } }), 'a.yaml');
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
    t.same(parseManifest(JSON.stringify(toUserForm(parsed.manifest)), 'a.yaml'), parsed, JSON.stringify(given));
  }
});

t.test('copies may be read where the manifest says how old they may be', async (t) => {
  const parse = (state: object) => {
    const component = { rootfs: 'host', directory: 'd', command: ['c'], count: 2, state };
    return parseManifest(JSON.stringify({ app: 'a', components: { c: component } }), 'a.yaml');
  };
  const parsed = parse({ mode: 'partitioned', replicas: 1, reads: { staleness: '500ms' } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
  const { c } = parsed.manifest.components;
  t.match(c, { partition: { replicas: 1, stalenessMs: 500 }, calls: ['c'] }, 'its instances ask each other');
  t.same(parseManifest(JSON.stringify(toUserForm(parsed.manifest)), 'a.yaml'), parsed);
  const refusals = (state: object) => {
    const refused = parse(state);
    return refused.ok ? [] : refused.errors.map(formatManifestError);
  };
  const reads = { staleness: '1s' };
  t.match(refusals({ mode: 'partitioned', reads }), [/expected replicas of at least 1 beside reads/]);
  t.match(refusals({ mode: 'replicated', reads }), [/expected no reads, since state is replicated/]);
  const tooShort = { mode: 'partitioned', replicas: 1, reads: { staleness: '10ms' } };
  t.match(refusals(tooShort), [/expected a time from 100ms to 60s/]);
});

t.test('the published schema is the one in use', async (t) => {
  // SHOAL_WRITE_SCHEMA=1 publishes it anew.
  if (process.env.SHOAL_WRITE_SCHEMA === '1') {
    writeFileSync('protocol/manifest.schema.json', `${JSON.stringify(MANIFEST_SCHEMA, null, 2)}\n`);
  }
  const published: unknown = JSON.parse(readFileSync('protocol/manifest.schema.json', 'utf8'));
  t.strictSame(published, JSON.parse(JSON.stringify(MANIFEST_SCHEMA)));
});

t.test('parsing never throws', async () => {
  const scrap = fc.constantFrom(
    ...[
      'app',
      'components',
      ': ',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '&a ',
      '*a',
      '"',
      "'",
      '|',
      '>',
      '#',
      '!',
      '%',
    ],
    ...['? ', ',', '---', '...', '<<', 'x', '1', '\t', '\u0000', '\ud800', '__proto__', 'image', 'env', 'count', '\r'],
  );
  const texts = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.array(scrap).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const result = parseManifest(text, 'f');
      if (result.ok) return true;
      return result.errors.length > 0 && result.errors.every((error) => error.line >= 1 && error.column >= 1);
    }),
    { numRuns: 3_000 },
  );
});

t.test('any tree of data is accepted or refused with places, never thrown at', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify({ app: 'a', components: { x: value } });
      const result = parseManifest(text, 'f');
      return result.ok || result.errors.length > 0;
    }),
    { numRuns: 500 },
  );
});

const name = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const word = fc.stringMatching(/^[\w ./:'"{}#-]{1,20}$/);
const ends = (min: number, max: number) =>
  fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
    .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));
const cache: fc.Arbitrary<Cache> = fc.record(
  {
    servers: fc.uniqueArray(fc.constantFrom('redis://a', 'redis://10.0.0.1:7000', 'redis://[::1]:7001'), {
      minLength: 1,
    }),
    isCluster: fc.constant(true),
    password: name,
    valueBytesMax: fc.integer({ min: 1, max: 1024 }),
    near: fc.record({ bytesMax: fc.integer({ min: 65_536, max: 1e6 }), entriesMax: fc.integer({ min: 1, max: 9 }) }),
  },
  { requiredKeys: ['servers', 'isCluster', 'valueBytesMax'] },
);
const partition: fc.Arbitrary<Partition> = fc.record(
  {
    shards: fc.integer({ min: 64, max: 1024 }),
    shardBytesMax: fc.integer({ min: 65_536, max: 1e6 }),
    valueBytesMax: fc.integer({ min: 1, max: 1e6 }),
    replicas: fc.integer({ min: 1, max: 4 }),
    snapshotMs: fc.integer({ min: 1_000, max: 86_400_000 }),
  },
  { requiredKeys: ['shards', 'shardBytesMax', 'valueBytesMax'] },
);
const state = fc.oneof(
  fc.record({ state: fc.constantFrom('none' as const, 'partitioned' as const) }),
  fc.record({ state: fc.constant('partitioned' as const), partition }),
  fc.record({ state: fc.constant('cache' as const), cache }),
);
const stateless: fc.Arbitrary<Omit<Component, 'state'>> = fc.record(
  {
    source: fc.oneof(
      fc.record({ kind: fc.constant('rootfs' as const), rootfs: word, directory: word }),
      fc.record({ kind: fc.constant('image' as const), image: word }),
    ),
    command: fc.array(word, { minLength: 1, maxLength: 4 }),
    env: fc.dictionary(
      fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,8}$/),
      fc.string({ unit: 'grapheme' }).filter((s) => !s.includes('\0')),
    ),
    count: ends(1, 64),
    size: fc.record({
      cpu: ends(1, 64_000).map(({ min, max }) => ({ min: 0.01 + min / 1000, max: 0.01 + max / 1000 })),
      memory: ends(4_194_304, 1e12),
    }),
    objective: fc.oneof(
      fc.record({ kind: fc.constant('utilisation' as const), target: fc.double({ min: 0.05, max: 1, noNaN: true }) }),
      fc.record({
        kind: fc.constant('latency' as const),
        percentile: fc.constantFrom(50, 90, 99, 99.9),
        targetMs: fc.integer({ min: 1, max: 600_000 }),
      }),
      fc.record({ kind: fc.constant('queue' as const), length: fc.integer({ min: 1, max: 100 }) }),
    ),
    seasonSeconds: fc.constantFrom(0, 10, 86_400),
    calls: fc.constant([]),
    ports: fc.constant([]),
    budget: fc.integer({ min: 4096, max: 9999 }).map((cpu) => ({ cpu })),
    mode: fc.constantFrom('act', 'observe'),
    io: fc.record(
      {
        readBytes: fc.integer({ min: 4096, max: 2 ** 30 }),
        writeBytes: fc.integer({ min: 4096, max: 2 ** 30 }),
        readOps: fc.integer({ min: 1, max: 1000 }),
        writeOps: fc.integer({ min: 1, max: 1000 }),
        devices: fc.constant(['/dev/vda']),
      },
      { requiredKeys: ['writeOps'] },
    ),
  },
  { requiredKeys: ['source', 'command', 'env', 'count', 'size', 'objective', 'calls', 'ports'] },
);
const component: fc.Arbitrary<Component> = fc.tuple(stateless, state).map(([rest, kept]) => ({ ...rest, ...kept }));

t.test('a complete manifest written out in the user form reads the same', async () => {
  fc.assert(
    fc.property(name, fc.dictionary(name, component, { minKeys: 1, maxKeys: 4 }), (app, components) => {
      const manifest: Manifest = { app, components };
      const result = parseManifest(JSON.stringify(toUserForm(manifest)), 'f');
      return result.ok && JSON.stringify(sorted(result.manifest)) === JSON.stringify(sorted(manifest));
    }),
    { numRuns: 200 },
  );
});

/** Keys in one order everywhere, so that two equal values print alike. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, one]) => [key, sorted(one)]);
}

t.test('the example and the error in docs/manifest.md are true', async (t) => {
  const page = readFileSync('docs/manifest.md', 'utf8');
  const example = /```yaml\n([^`]*)```/.exec(page)?.[1] ?? '';
  const result = parseManifest(example, 'app.yaml');
  t.ok(result.ok, JSON.stringify(result));
  const told = /```text\n([^`]*)```/.exec(page)?.[1]?.trim();
  const wrong = parseManifest(example.replace('    calls: [index]', '    objektive: 1'), 'app.yaml');
  t.equal(wrong.ok ? '' : wrong.errors.map(formatManifestError)[0], told);
});
