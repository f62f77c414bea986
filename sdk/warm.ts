import { connect } from 'node:net';
import type { FromInstance } from '../protocol/control.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { parseToInstance } from './control-parse.js';

/** Waits until the agent says which instance this process is; dials again when the agent goes. */
export async function untilActivated(path: string): Promise<string> {
  // The first process of a PID namespace is not ended by a signal that it has no handler for.
  const leave = () => process.exit(0);
  process.on('SIGTERM', leave);
  try {
    for (;;) {
      const instance = await ask(path);
      if (instance !== null) return instance;
      await new Promise((resolve) => setTimeout(resolve, LIMITS.reconnectMsMin));
    }
  } finally {
    process.off('SIGTERM', leave);
  }
}

/** One connection: the instance that the agent names, or null when it hangs up or makes no sense. */
function ask(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const reader = new FrameReader();
    socket.on('connect', () => socket.write(encodeFrame({ type: 'warm' } satisfies FromInstance)));
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk).map(parseToInstance)) {
          if (message.type !== 'activate') continue;
          resolve(message.instance);
          socket.destroy();
        }
      } catch {
        socket.destroy();
      }
    });
    // Why it broke does not matter here: it is dialled again, and the agent's log says more.
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(null));
  });
}
