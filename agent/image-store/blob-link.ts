import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ShoalError } from '../../protocol/errors.js';
import { encodeFrame, FrameReader } from '../../protocol/frame.js';
import { type Digest, isDigest } from './oci.js';

/**
 * A blob of an image between two agents, over a connection of its own to the port for other hosts: who dials asks first and
 * says nothing more, who is asked answers with pieces and hangs up. What came is the blob if its digest says so, whoever
 * sent it; so nobody is believed, and who knows a digest may have what it stands for: it is as hard to guess as a key.
 */
export interface BlobWanted {
  type: 'blob-wanted';
  digest: Digest;
}

type BlobAnswer = { piece: Uint8Array } | { refused: string };

export const PIECE_BYTES = 256 * 1024;
const REFUSED_LENGTH_MAX = 1_000;
/** Who neither sends nor reads for so long is given up. */
const SILENCE_MS_MAX = 10_000;
/** After the first seconds; of a registry no less is to be expected. */
export const BYTES_PER_SECOND_MIN = 1024 * 1024;
const GRACE_SECONDS = 5;

/** Null when it is none. */
export function parseBlobWanted(value: Record<string, unknown>): BlobWanted | null {
  const { type, digest } = value;
  return type === 'blob-wanted' && isDigest(digest) ? { type, digest } : null;
}

/**
 * Answers with the content of the file, at the pace of who reads and of `pace`, which is waited for before each piece. Answers
 * what was sent. Rejects when it cannot be read or is not taken.
 */
export async function sendBlob(
  socket: Socket,
  path: string,
  pace: (bytes: number) => Promise<void>,
): Promise<{ digest: Digest; bytes: number }> {
  const file = await open(path, 'r');
  silenced(socket);
  const hash = createHash('sha256');
  let bytes = 0;
  const frames = new Transform({
    writableHighWaterMark: PIECE_BYTES,
    readableHighWaterMark: PIECE_BYTES,
    transform(piece: Buffer, _encoding: string, done: TransformCallback) {
      hash.update(piece);
      bytes += piece.length;
      pace(piece.length).then(() => done(null, encodeFrame({ piece } satisfies BlobAnswer)), done);
    },
  });
  await pipeline(file.createReadStream({ highWaterMark: PIECE_BYTES }), frames, socket);
  return { digest: `sha256:${hash.digest('hex')}`, bytes };
}

export function refuseBlob(socket: Socket, why: string): void {
  silenced(socket);
  socket.end(encodeFrame({ refused: why.slice(0, REFUSED_LENGTH_MAX) } satisfies BlobAnswer));
}

/**
 * Asks at the other end of a connection that it makes and ends, and writes what comes to the path. Answers its bytes. Rejects with
 * SHOAL_E_NOT_FOUND when the other end has or gives none, with SHOAL_E_UNREACHABLE when what came in time was not the blob.
 */
export async function receiveBlob(
  dial: () => Socket,
  { digest, bytesMax, path }: { digest: Digest; bytesMax: number; path: string },
): Promise<number> {
  const file = await open(path, 'wx', 0o600);
  try {
    return await receive(dial(), file, digest, bytesMax);
  } catch (error) {
    if (error instanceof ShoalError && error.code === 'SHOAL_E_NOT_FOUND') throw error;
    throw new ShoalError('SHOAL_E_UNREACHABLE', (error as Error).message, { cause: error });
  } finally {
    await file.close();
  }
}

async function receive(socket: Socket, file: FileHandle, digest: Digest, bytesMax: number): Promise<number> {
  const hash = createHash('sha256');
  let received = 0;
  let seconds = 0;
  const pace = setInterval(() => {
    seconds += 1;
    if (seconds > GRACE_SECONDS && received < seconds * BYTES_PER_SECOND_MIN) {
      socket.destroy(new Error(`it sent ${received} bytes in ${seconds} s`));
    }
  }, 1_000);
  try {
    silenced(socket);
    const reader = new FrameReader();
    socket.write(encodeFrame({ type: 'blob-wanted', digest } satisfies BlobWanted));
    for await (const chunk of socket) {
      for (const frame of reader.push(chunk as Buffer)) {
        const piece = pieceOf(frame);
        received += piece.length;
        if (received > bytesMax) throw new Error(`it sends more than ${bytesMax} bytes`);
        hash.update(piece);
        await file.writeFile(piece);
      }
    }
  } finally {
    clearInterval(pace);
    socket.destroy();
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw new Error(`it sent ${received} bytes of the digest ${found}`);
  return received;
}

function pieceOf(frame: unknown): Uint8Array {
  const { piece, refused } = (frame ?? {}) as { piece?: unknown; refused?: unknown };
  if (piece instanceof Uint8Array) return piece;
  if (typeof refused !== 'string') throw new Error('its answer is none');
  throw new ShoalError('SHOAL_E_NOT_FOUND', refused.slice(0, REFUSED_LENGTH_MAX));
}

function silenced(socket: Socket): void {
  // Told to who reads or writes; before and after that nobody listens, and nobody needs to.
  socket.on('error', () => undefined);
  socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy(new Error(`nothing moved for ${SILENCE_MS_MAX} ms`)));
}
