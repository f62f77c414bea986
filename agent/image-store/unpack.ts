import { createHash, type Hash } from 'node:crypto';
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream';
import { fileURLToPath } from 'node:url';
import * as zlib from 'node:zlib';
import { native } from '../../native/index.js';
import { LayerWriter } from './layer-writer.js';
import type { Compression } from './oci.js';
import { TarReader } from './tar.js';

/** The programme of its own that this module is: a layer is big, and an agent that unpacks would hear nobody. */
export const UNPACK_PROGRAM = fileURLToPath(import.meta.url);

/** How the programme ends when the archive is not what its digest says, so that it must be fetched again. */
export const ARCHIVE_DAMAGED = 3;
const ENTRIES_MAX = 1_000_000;

export interface UnpackOrder {
  archive: string;
  compression: Compression;
  /** Folder, empty as yet: gets `root`, and `bytes` with the room that it takes. */
  target: string;
  blob: string;
  layer: string;
  bytesMax: number;
}

/** Unpacks a layer; throws unless both the archive and what it contains have the digests that they should. */
export async function unpackLayer(order: UnpackOrder): Promise<void> {
  const writer = new LayerWriter(
    join(order.target, 'root'),
    { entriesMax: ENTRIES_MAX, bytesMax: order.bytesMax },
    native,
  );
  const reader = new TarReader(writer);
  const packed = createHash('sha256');
  const plain = createHash('sha256');
  for await (const chunk of decompressed(order, packed)) {
    plain.update(chunk as Buffer);
    reader.push(chunk as Buffer);
  }
  reader.finish();
  writer.finish();
  assertDigest('archive', packed, order.blob);
  assertDigest('content', plain, order.layer);
  writeFileSync(join(order.target, 'bytes'), String(writer.bytes));
}

function decompressed({ archive, compression }: UnpackOrder, packed: Hash): Readable {
  const hashed = new Transform({
    transform(chunk: Buffer, _encoding: string, done: TransformCallback) {
      packed.update(chunk);
      done(null, chunk);
    },
  });
  // An error of any of them reaches who reads the last.
  const ignore = () => undefined;
  const file = createReadStream(archive, { highWaterMark: 256 * 1024 });
  if (compression === 'none') return pipeline(file, hashed, ignore);
  return pipeline(file, hashed, decompressor(compression), ignore);
}

function decompressor(compression: 'gzip' | 'zstd'): Transform {
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: 256 * 1024 });
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
  if (createZstdDecompress === undefined) {
    throw new Error('a layer is compressed by zstd, which this Node cannot read: Node 22.15 or newer can');
  }
  return createZstdDecompress();
}

function assertDigest(what: string, hash: Hash, wanted: string): void {
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== wanted) throw new Error(`the ${what} of a layer has the digest ${found} and not ${wanted}`);
}

/** Whether it is the archive itself that is not what it should be, rather than what was packed into it. */
async function isDamaged(order: string): Promise<boolean> {
  const { archive, blob } = JSON.parse(order) as UnpackOrder;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(archive)) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}` !== blob;
}

if (process.argv[1] === UNPACK_PROGRAM) {
  try {
    await unpackLayer(JSON.parse(process.argv[2] ?? '') as UnpackOrder);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = (await isDamaged(process.argv[2] ?? '')) ? ARCHIVE_DAMAGED : 1;
  }
}
