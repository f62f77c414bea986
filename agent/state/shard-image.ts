import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { ShoalError } from '../../protocol/errors.js';
import { recordsIn } from '../../protocol/state-record.js';
import { halfStart, readHeader, type SegmentHeader } from './segment-reader.js';

/** Read and looked through at once: others get their turn in between. */
const CHUNK_BYTES = 512 * 1024;
const PART_BYTES = 256 * 1024;
/** Garbage was taken out while the log was read: so often it is read anew. Reading takes milliseconds, filling a half does not. */
const ATTEMPTS_MAX = 10;

/** The entries of a state shard as they all were at one moment. */
export interface ShardImage {
  entries: number;
  /** Of the records. */
  bytes: number;
  /** Index of the last write. */
  last: number;
  /** Whole records, some at a time. */
  parts(): Generator<Buffer>;
}

const NOTHING: ShardImage = { entries: 0, bytes: 0, last: 0, *parts() {} };

/**
 * Reads what is in a segment, whoever writes to it meanwhile, by a descriptor of its own. A log only grows while its half is
 * the active one; so what was read is good if that half is the active one still. Takes memory for the log once. Nothing of a
 * shard without a segment. Throws SHOAL_E_STATE_DAMAGED, or SHOAL_E_OVERLOADED when it is written to too fast.
 */
export async function readShard(path: string, clock: () => number = Date.now): Promise<ShardImage> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NOTHING;
    throw error;
  }
  try {
    const { size } = await file.stat();
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const header = readHeader(file.fd, size);
      const log = await readLog(file, header);
      const { active, generation } = readHeader(file.fd, size);
      if (active === header.active && generation === header.generation) return await imageOf(log, header, clock());
    }
  } finally {
    await file.close();
  }
  throw new ShoalError('SHOAL_E_OVERLOADED', 'a state shard is written to faster than it can be read; try again later');
}

async function readLog(file: FileHandle, { active, halfBytes, committedBytes }: SegmentHeader): Promise<Buffer> {
  const log = Buffer.allocUnsafeSlow(committedBytes);
  const start = halfStart(active, halfBytes);
  for (let at = 0; at < log.length; ) {
    const { bytesRead } = await file.read(log, at, Math.min(CHUNK_BYTES, log.length - at), start + at);
    if (bytesRead === 0) throw new ShoalError('SHOAL_E_STATE_DAMAGED', 'a segment is shorter than it says');
    at += bytesRead;
  }
  return log;
}

/** The last record of each key that is there still. */
async function imageOf(log: Buffer, { base }: SegmentHeader, nowMs: number): Promise<ShardImage> {
  const live = new Map<string, Buffer>();
  let [records, bytes] = [0, 0];
  const forget = (key: string) => {
    bytes -= live.get(key)?.length ?? 0;
    live.delete(key);
  };
  let looked = 0;
  for (const record of recordsIn(log)) {
    records += 1;
    forget(record.key);
    if (!record.gone && record.expiresAtMs > nowMs) {
      live.set(record.key, record.bytes);
      bytes += record.bytes.length;
    }
    looked += record.bytes.length;
    if (looked < CHUNK_BYTES) continue;
    looked = 0;
    await setImmediate();
  }
  return { entries: live.size, bytes, last: base + records, parts: () => partsOf(live.values()) };
}

function* partsOf(records: Iterable<Buffer>): Generator<Buffer> {
  let part: Buffer[] = [];
  let bytes = 0;
  for (const record of records) {
    if (bytes > 0 && bytes + record.length > PART_BYTES) {
      yield Buffer.concat(part);
      [part, bytes] = [[], 0];
    }
    part.push(record);
    bytes += record.length;
  }
  if (bytes > 0) yield Buffer.concat(part);
}
