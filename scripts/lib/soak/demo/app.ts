import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toUserForm } from '../../../../protocol/manifest-format.js';
import { parseManifest } from '../../../../protocol/manifest-parse.js';

/** Of the demo's front, on each host. */
export const DEMO_PORT = 17_070;
const PROGRAMS = ['front.mjs', 'tokenizer.mjs', 'index.mjs'];
/** Few, since of each search each answers one line to each shard's owner. */
const SHARDS = 8;
/** Each instance may be small: what is looked for is not how fast they are. */
const SIZE = { cpu: { min: 0.05, max: 0.2 }, memory: { min: '96Mi', max: '128Mi' } };

/**
 * Lays the demo's programs as they are into the folder, with the witness as the `shoal/sdk` that they find. `dist`: folder of
 * compiled code.
 */
export async function layDemo(dist: string, folder: string): Promise<void> {
  const shoal = join(folder, 'node_modules/shoal');
  await mkdir(shoal, { recursive: true });
  for (const program of PROGRAMS) await copyFile(join(dist, 'examples/search', program), join(folder, program));
  await copyFile(join(dist, 'scripts/lib/soak/demo/witness.mjs'), join(shoal, 'witness.mjs'));
  const exported = { name: 'shoal', type: 'module', exports: { './sdk': './witness.mjs' } };
  await writeFile(join(shoal, 'package.json'), JSON.stringify(exported));
}

/**
 * The manifest of the demo as a soak runs it, with a singleton `one` besides: a front for each host, others up to `countMax`.
 * `folder`: where layDemo laid its programs.
 */
export async function demoManifest(dist: string, folder: string, hosts: number, countMax: number): Promise<object> {
  const file = join(dist, '../examples/search/shoal.yaml');
  const parsed = parseManifest(await readFile(file, 'utf8'), file);
  if (!parsed.ok) throw new Error(`${file}: ${JSON.stringify(parsed.errors)}`);
  const { app, components } = toUserForm(parsed.manifest) as { app: string; components: Record<string, object> };
  const { front, tokenizer, index } = components;
  const own = { directory: folder, size: SIZE };
  const [each, some] = [
    { min: hosts, max: hosts },
    { min: 1, max: countMax },
  ];
  return {
    app,
    components: {
      front: { ...front, ...own, count: each, ports: [{ name: 'http', host: DEMO_PORT }] },
      tokenizer: { ...tokenizer, ...own, count: some },
      index: { ...index, ...own, count: some, state: { mode: 'partitioned', shards: SHARDS } },
      one: { ...tokenizer, ...own, count: { min: 1, max: 1 }, singleton: true },
    },
  };
}
