import { connect, type Socket } from 'node:net';
import type { FromInstance, ToInstance } from '../protocol/control.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { parseToInstance } from './control-parse.js';

/** The connection over which a process was told which instance it is; it goes on as that of the instance. */
export interface Conversation {
  /** Paused. */
  socket: Socket;
  reader: FrameReader;
  /** What has come already. */
  early: ToInstance[];
}

/** What a process that has waited is told. */
export interface Activation extends Conversation {
  instance: string;
}

/** Waits until the agent says which instance this process is; dials again when the agent goes. */
export async function untilActivated(path: string): Promise<Activation> {
  for (;;) {
    const activation = await ask(path);
    if (activation !== null) return activation;
    await new Promise((resolve) => setTimeout(resolve, LIMITS.reconnectMsMin));
  }
}

/** One connection: what the agent says, or null when it hangs up or makes no sense. */
function ask(path: string): Promise<Activation | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const reader = new FrameReader();
    socket.on('connect', () => socket.write(encodeFrame({ type: 'warm' } satisfies FromInstance)));
    socket.on('data', (chunk: Buffer) => {
      try {
        const messages = reader.push(chunk).map(parseToInstance);
        const at = messages.findIndex(({ type }) => type === 'activate');
        const found = messages[at];
        if (found?.type !== 'activate') return;
        socket.removeAllListeners('data');
        socket.pause();
        resolve({ instance: found.instance, socket, reader, early: messages.slice(at + 1) });
      } catch {
        socket.destroy();
      }
    });
    // Why it broke does not matter here: it is dialled again, and the agent's log says more.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(null));
  });
}
