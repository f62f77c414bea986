import type { Socket } from 'node:net';
import type { Identity } from '../identity/identity.js';
import { ShoalError } from '../protocol/errors.js';
import { encodeFrame, FrameReader } from '../protocol/frame.js';
import { LIMITS } from '../protocol/limits.js';
import { type Address, dial } from './coordinators.js';

/** A connection that the coordinator has joined with that of who asked. */
export interface Attached {
  socket: Socket;
  reader: FrameReader;
  /** What came with the welcome. */
  early: unknown[];
}

/**
 * Dials the coordinator once more, for what was asked for with this ticket; the connection is among `sockets` as long as it is
 * open. Rejects with SHOAL_E_UNREACHABLE.
 */
export function attach(
  address: Address,
  identity: Identity | null,
  ticket: string,
  sockets: Set<Socket>,
): Promise<Attached> {
  return new Promise((resolve, reject) => {
    const socket = dial(address, identity, () => {
      socket.write(encodeFrame({ type: 'attach', ticket }));
    });
    sockets.add(socket);
    const reader = new FrameReader();
    const fail = (why: string) => {
      socket.destroy();
      reject(new ShoalError('SHOAL_E_UNREACHABLE', `what was asked for could not be attached: ${why}`));
    };
    const timer = setTimeout(() => fail('the coordinator does not answer'), LIMITS.execStartMsMax);
    const welcomed = (chunk: Buffer) => {
      try {
        const [first, ...early] = reader.push(chunk);
        if (first === undefined) return;
        if ((first as { type?: unknown })?.type !== 'welcome') return fail('the coordinator did not welcome it');
        socket.off('data', welcomed);
        clearTimeout(timer);
        resolve({ socket, reader, early });
      } catch (error) {
        fail((error as Error).message);
      }
    };
    socket.on('data', welcomed);
    socket.on('error', (error) => fail(error.message));
    socket.once('close', () => {
      clearTimeout(timer);
      sockets.delete(socket);
      fail('the coordinator closed the connection');
    });
  });
}
