import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { AgentRig, component, instance } from './rig.js';

t.test('an OCI image and a root file system folder run, the image with its own command and environment', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-image-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const image = join(folder, 'layout:v1');
  const umoci = (...words: string[]) => execFileSync('umoci', words, { stdio: 'pipe' });
  umoci('init', '--layout', join(folder, 'layout'));
  umoci('new', '--image', image);
  umoci('unpack', '--image', image, join(folder, 'bundle'));
  const rootfs = join(folder, 'bundle/rootfs');
  await mkdir(join(rootfs, 'bin'));
  await copyFile('/bin/busybox', join(rootfs, 'bin/busybox'));
  umoci('repack', '--image', image, join(folder, 'bundle'));
  const command = ['/bin/busybox', 'sh', '-c', 'echo "GREETING=$GREETING"; exec /bin/busybox sleep 1000'];
  umoci(
    'config',
    '--image',
    image,
    ...command.flatMap((word) => ['--config.cmd', word]),
    '--config.env',
    'GREETING=hello',
  );
  await chmod(join(folder, 'bundle'), 0o755);

  const rig = await AgentRig.make();
  const apps = {
    t: {
      image: component('x', { source: { kind: 'image', image: `oci:${image}` }, command: [] }),
      folder: component('x', { source: { kind: 'rootfs', rootfs }, command, env: { GREETING: 'from the manifest' } }),
    },
  };
  rig.desire(() => ({ apps, instances: [instance('image', 0), instance('folder', 0), instance('image', 1)] }));
  const ready = (id: string) => rig.status(id)?.phase === 'ready';
  await rig.until('all are ready', () => ['t-image-0', 't-image-1', 't-folder-0'].every(ready));
  const log = (id: string) => readFile(join(rig.run, 'instances', id, 'log'), 'utf8');
  t.match(await log('t-image-0'), /GREETING=hello/);
  t.match(await log('t-folder-0'), /GREETING=from the manifest/);
  t.same(await rig.close(), []);
});
