import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { until } from '../until.js';

const PASSER = fileURLToPath(new URL('passer.js', import.meta.url));
/** As a change of the desired state that names an instance. */
const MESSAGE = Buffer.alloc(300, 1);

/**
 * What a decision's way to a warm process costs at least: a message from one bare Node.js process to a second one, on to a third
 * and back to the second, by the same kind of sockets, each after `pauseMs` in which none of them has anything to do. Ms each.
 */
export async function passedOn(times: number, pauseMs: number): Promise<number[]> {
  const folder = await mkdtemp('/run/shoal-bench-');
  const [first, second] = [join(folder, 'first.sock'), join(folder, 'second.sock')];
  const children: ChildProcess[] = [];
  const start = (...words: string[]) =>
    children.push(spawn(process.execPath, [PASSER, ...words], { stdio: 'inherit' }));
  const server = createServer();
  try {
    await new Promise<void>((resolve) => server.listen(first, resolve));
    const accepted = once(server, 'connection');
    start(first, second);
    const [socket] = (await accepted) as [Socket];
    const heard = async () => String(((await once(socket, 'data')) as [Buffer])[0]);
    const bothAreThere = heard();
    await until(() => existsSync(second));
    start(second);
    await bothAreThere;
    const took: number[] = [];
    for (let i = 0; i < times; i += 1) {
      await setTimeout(pauseMs);
      const answer = heard();
      const sentMs = Number(process.hrtime.bigint()) / 1e6;
      socket.write(MESSAGE);
      took.push(Number(await answer) - sentMs);
    }
    return took;
  } finally {
    for (const child of children) child.kill();
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
}
