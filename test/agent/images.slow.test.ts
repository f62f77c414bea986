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
  for (const name of ['bin', 'srv']) await mkdir(join(rootfs, name));
  await copyFile('/bin/busybox', join(rootfs, 'bin/busybox'));
  umoci('repack', '--image', image, join(folder, 'bundle'));
  const script = `trap 'echo asked by QUIT; exit' QUIT
    echo "GREETING=$GREETING in $PWD as $(/bin/busybox id -u)"
    while :; do /bin/busybox sleep 0.1; done`;
  const command = ['sh', '-c', script];
  umoci(
    'config',
    '--image',
    image,
    ...['--config.entrypoint', '/bin/busybox', ...command.flatMap((word) => ['--config.cmd', word])],
    ...['--config.env', 'GREETING=hello', '--config.workingdir', '/srv', '--config.stopsignal', 'SIGQUIT'],
    // Not honoured.
    ...['--config.user', '1000:1000'],
  );
  await chmod(join(folder, 'bundle'), 0o755);

  const rig = await AgentRig.make();
  const apps = {
    t: {
      image: component('x', { source: { kind: 'image', image: `oci:${image}` }, command: [] }),
      folder: component('x', {
        source: { kind: 'rootfs', rootfs },
        command: ['/bin/busybox', ...command],
        env: { GREETING: 'from the manifest' },
      }),
    },
  };
  rig.desire(() => ({ apps, instances: [instance('image', 0), instance('folder', 0), instance('image', 1)] }));
  const ready = (id: string) => rig.status(id)?.phase === 'ready';
  await rig.until('all are ready', () => ['t-image-0', 't-image-1', 't-folder-0'].every(ready));
  const log = (id: string) => readFile(join(rig.run, 'instances', id, 'log'), 'utf8').catch(() => '');
  await rig.until('both have said it', async () => {
    const said = await Promise.all(['t-image-0', 't-folder-0'].map(log));
    return said.every((each) => each.includes('GREETING'));
  });
  t.match(await log('t-image-0'), /GREETING=hello in \/srv as 0$/m);
  t.match(await log('t-folder-0'), /GREETING=from the manifest in \/ as 0$/m);
  t.same(await rig.close(), []);
  // SIGTERM does nothing to the first process of a container that does not wait for it.
  const killed = rig.events.filter(({ kind }) => kind === 'killed').map(({ instance }) => instance);
  t.same(killed, ['t-folder-0'], 'an image says by which signal it ends');
});
