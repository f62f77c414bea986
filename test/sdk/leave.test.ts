import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { link, mkdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Control } from '../../agent/control.js';
import { Rig } from './rig.js';

const SCRIPT = fileURLToPath(new URL('./leaving-instance.js', import.meta.url));

interface Child {
  process: ChildProcess;
  control: Control;
  folder: string;
}

async function startChild(rig: Rig, id: string): Promise<Child> {
  const folder = join(rig.folder, id);
  const peers = join(rig.folder, 'peers');
  await mkdir(folder, { recursive: true });
  await mkdir(join(peers, 'back'), { recursive: true });
  let ready = () => {};
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const control = new Control(id, {
    waits() {},
    copiesWanted() {},
    hello() {},
    warm() {},
    ready: () => ready(),
    stats() {},
    wanted() {},
    flooded() {},
    closed() {},
  });
  await control.listen(folder, process.geteuid?.() ?? 0);
  const env = { SHOAL_APP: 'a', SHOAL_COMPONENT: 'back', SHOAL_INSTANCE: id };
  const child = fork(SCRIPT, {
    env: { ...process.env, ...env, SHOAL_SOCKET_DIR: folder, SHOAL_PEERS_DIR: peers },
  });
  await isReady;
  await link(join(folder, 'fabric.sock'), join(peers, 'back', `${id}.sock`));
  return { process: child, control, folder };
}

function get(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path: '/', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
    });
    outgoing.on('error', reject).end();
  });
}

for (const how of ['drain', 'SIGTERM'] as const) {
  t.test(`on ${how} calls at work end, new ones go to another instance, and the process exits with 0`, async (t) => {
    const rig = await Rig.make();
    const leaving = await startChild(rig, 'a-back-0');
    const staying = await startChild(rig, 'a-back-1');
    t.teardown(async () => {
      leaving.process.kill('SIGKILL');
      staying.process.kill('SIGKILL');
      leaving.control.close();
      staying.control.close();
      await rig.close();
    });
    t.equal((await stat(join(leaving.folder, 'fabric.sock'))).mode & 0o777, 0o666);
    t.equal(await get(join(leaving.folder, 'web.sock')), 'page');

    const { app, control } = await rig.start('front', 'a-front-0');
    control.sendRoutes(1, { back: { instances: ['a-back-0'] } });
    const slow = app.call('back', 'slow', 'answer');
    await once(leaving.process, 'message');
    control.sendRoutes(2, { back: { instances: ['a-back-0', 'a-back-1'] } });
    while (app.peers()[0]?.instances.length !== 2) await new Promise(setImmediate);

    const exit = once(leaving.process, 'exit');
    const drained = once(leaving.process, 'message');
    if (how === 'drain') leaving.control.sendDrain();
    else leaving.process.kill('SIGTERM');
    // Routes still name it, as they do for a moment in real life: no call is lost.
    let elsewhere = 0;
    for (let i = 0; i < 200; i += 1) {
      if ((await app.call('back', 'quick', null)) === staying.process.pid) elsewhere += 1;
    }
    t.ok(elsewhere > 0);
    leaving.process.send('go on');
    t.equal(await slow, 'answer');
    const after = Array.from({ length: 50 }, () => app.call('back', 'quick', null));
    t.same(await Promise.all(after), Array(50).fill(staying.process.pid));
    t.same((await drained)[0], 'drained');
    t.same(await exit, [0, null]);
  });
}
