import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { makeLayout } from './image-store/layout.js';
import { Registry } from './image-store/registry.js';
import { AgentRig, component, instance } from './rig.js';

const PATIENCE_MS = 60_000;
const FOLDERS = ['bin', 'etc'].map((path) => ({ path, type: '5', mode: 0o755 }));
const BUSYBOX = { path: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 };

t.test(
  'layers come from hosts that have them, what a tag means from the registry; by digest all from hosts',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-seeds-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o755);
    const layers = [[...FOLDERS, BUSYBOX], [{ path: 'etc/version', content: 'one' }]];
    await makeLayout(join(folder, 'layout'), layers, { Cmd: ['/bin/busybox', 'sleep', '1000'] });
    const registry = new Registry(join(folder, 'layout'));
    const address = await registry.open();
    t.teardown(() => registry.close());
    const manifest = await registry.digest();
    const { config, layers: packed } = JSON.parse(
      await readFile(join(folder, 'layout/blobs/sha256', manifest.slice('sha256:'.length)), 'utf8'),
    ) as { config: { digest: string }; layers: { digest: string }[] };
    const archives = packed.map(({ digest }) => digest);

    // The registry of a test speaks no TLS; of this the agents' skopeo hears by what is at home.
    const settings = join(folder, '.config/containers/registries.conf');
    await mkdir(dirname(settings), { recursive: true });
    await writeFile(settings, `[[registry]]\nlocation = "${address}"\ninsecure = true\n`);
    const { HOME } = process.env;
    process.env.HOME = folder;
    t.teardown(() => {
      process.env.HOME = HOME;
    });

    const rigs: AgentRig[] = [];
    /** A host that gets an instance of the image, and what the registry gave meanwhile. */
    const host = async (image: string): Promise<string[]> => {
      const rig = await AgentRig.make('--name', `h${rigs.length}`);
      rig.seeds = rigs
        .map(({ hello }) => ({ host: hello?.host.name ?? '', address: hello?.host.fabric ?? '' }))
        .reverse();
      const given = registry.given.length;
      rig.desire(() => ({
        apps: { t: { web: component('x', { source: { kind: 'image', image }, command: [] }) } },
        instances: [instance('web', rigs.length)],
      }));
      await rig.until(`ready from ${image}`, () => rig.statuses[0]?.phase === 'ready', PATIENCE_MS);
      t.same(rig.askedFor, [image]);
      rigs.push(rig);
      return registry.given.slice(given);
    };
    const tag = `${address}/image:v1`;
    t.same([...new Set(await host(tag))].sort(), [manifest, config.digest, ...archives].sort(), 'nobody has it');
    const given = await host(tag);
    t.ok(given.includes(manifest), 'the registry says what the tag is');
    t.notOk(
      given.some((digest) => archives.includes(digest)),
      'and gives no layer',
    );
    // Now one of the two has ended: what it does not give the other does.
    await rigs[1]?.killAgent('SIGKILL');
    await registry.close();
    t.same(await host(`${address}/image@${manifest}`), [], 'by its digest it needs no registry');
    rigs[1]?.startAgent();
    for (const rig of rigs) t.same(await rig.close(), []);
  },
);
