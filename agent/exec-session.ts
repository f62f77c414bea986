import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import { type FromCommand, readToCommand, type ToCommand } from '../protocol/exec.js';
import { encodeFrame, type FrameReader } from '../protocol/frame.js';
import type { InsideProcess } from './exec.js';

/** How long the last word of a command may take to be read. */
const HEARD_MS_MAX = 30_000;

/**
 * Carries a command's input and output over the connection of who asked for it, neither faster than the other side reads.
 * When the connection ends the command is ended; resolves when nothing of it is left.
 */
export async function serveCommand(
  socket: Socket,
  reader: FrameReader,
  early: readonly unknown[],
  inside: InsideProcess,
  log: Logger,
): Promise<void> {
  const { stdin, stdout, stderr } = inside;
  const send = (message: FromCommand) => socket.write(encodeFrame(message));
  const take = (message: ToCommand) => {
    if (message.type === 'end') stdin.end();
    else if (message.type === 'size') inside.resize?.(message);
    else if (stdin.writable && !stdin.write(message.bytes)) socket.pause();
  };
  const takeAll = (messages: readonly unknown[]) => {
    for (const message of messages) take(readToCommand(message));
  };
  const refuse = (error: unknown) => {
    log.warn({ err: error }, 'a connection of a command broke the protocol');
    socket.destroy();
  };
  stdin.on('drain', () => socket.resume());
  // What a command that has ended is still sent must not keep its end from being told.
  stdin.on('close', () => socket.resume());
  for (const [stream, from] of Object.entries({ stdout, stderr }) as ['stdout' | 'stderr', Readable][]) {
    from.on('data', (bytes: Buffer) => {
      if (!send({ type: 'output', stream, bytes })) pauseUntilDrained(socket, [stdout, stderr]);
    });
  }
  socket.on('data', (chunk: Buffer) => {
    try {
      takeAll(reader.push(chunk));
    } catch (error) {
      refuse(error);
    }
  });
  const over = new Promise<void>((resolve, reject) => {
    inside.ended
      .then(async (how) => {
        if (socket.destroyed) return;
        // Who is told that it has ended finds nothing of it.
        await inside.end();
        send({ type: 'ended', ...how });
        // Who has heard it hangs up; were it done here, with input still on its way, the end would be lost.
        socket.resume();
        const timer = setTimeout(() => socket.destroy(), HEARD_MS_MAX);
        socket.once('close', () => clearTimeout(timer));
      })
      .catch(reject);
    socket.once('close', resolve);
  });
  try {
    takeAll(early);
  } catch (error) {
    refuse(error);
  }
  if (socket.destroyed) return inside.end();
  await over;
  await inside.end();
}

function pauseUntilDrained(socket: Socket, streams: readonly Readable[]): void {
  for (const stream of streams) stream.pause();
  socket.once('drain', () => {
    for (const stream of streams) stream.resume();
  });
}
