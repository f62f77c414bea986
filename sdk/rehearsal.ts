import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { FromInstance, InstanceStats, ToInstance } from '../protocol/control.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { AgentConnection } from './control.js';
import { ShardStore } from './shard-store.js';
import { listenOnPath } from './unix-carrier.js';
import { untilActivated } from './warm.js';

/** By then V8 has made what it makes of code that is used again; after one time alone it does so when somebody waits. */
export const REHEARSALS = 12;

/**
 * Does, some times over, what is done when this process is told which instance it is, with an agent of its own on a socket in the
 * folder, which knows of no other instance: for the first time it takes three times as long, and then somebody waits.
 */
export async function rehearse(folder: string, stats: () => InstanceStats): Promise<void> {
  const path = join(folder, 'rehearsal.sock');
  const agent = createServer(play);
  await listenOnPath(agent, path);
  for (let time = 0; time < REHEARSALS; time += 1) await goThrough(path, stats);
  agent.close();
}

async function goThrough(path: string, stats: () => InstanceStats): Promise<void> {
  const { instance, ...conversation } = await untilActivated(path);
  let told = () => {};
  const isTold = new Promise<void>((resolve) => {
    told = resolve;
  });
  const events = { routes: () => told(), drain() {}, known() {}, greeted() {} };
  const connection = new AgentConnection(path, { instance }, new ShardStore(), stats, events);
  connection.start(conversation);
  connection.ready();
  await isTold;
  connection.close();
}

/** The agent's part. */
function play(socket: Socket): void {
  const reader = new FrameReader();
  const say = (message: ToInstance) => socket.write(encodeFrame(message));
  socket.on('data', (chunk: Buffer) => {
    for (const { type } of reader.push(chunk) as FromInstance[]) {
      if (type === 'warm') say({ type: 'activate', instance: 'rehearsal' });
      else if (type === 'ready') say({ type: 'routes', revision: 0, routes: {} });
    }
  });
}
