import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';
import { shardOfKey } from './shard.js';
import { readEntry, recordsIn } from './state-record.js';

/**
 * A file with the entries of state shards: what `shoal state export` writes, and what an agent keeps as a snapshot. docs/state.md
 * has the format. The magic, then blocks: length of the payload and type (32 bits each, little-endian), payload, CRC-32 of
 * these three. First the head, then for each shard blocks of entries and one that says that it is whole, at last the end
 * with the SHA-256 of all bytes before it. A file without its end is not complete.
 */
const MAGIC = Buffer.from('SHOALST1', 'latin1');
const FORMAT = 1;
const BLOCK = { head: 1, entries: 2, shard: 3, end: 4 } as const;
const BLOCK_HEAD_BYTES = 8;
const CRC_BYTES = 4;
const SHA_BYTES = 32;
/** One record of the largest value is a block, too. */
const PAYLOAD_BYTES_MAX = LIMITS.frameBytesMax;
const HEAD_BYTES_MAX = 64 * 1024;
/** That a Date can hold. */
const TIME_MS_MAX = 8.64e15;

/** Of whose state it is, and when it was written. */
export interface StateFileHead {
  app: string;
  component: string;
  mode: 'partitioned';
  /** State shards of the component, of which the file may have some or all. */
  shards: number;
  /** Ms since the epoch. */
  atMs: number;
}

/** A state shard, all of whose entries stand before. */
export interface ShardEnd {
  shard: number;
  entries: number;
  /** Of the record of the shard, and the index of its last write, when it was read; both 0 where nobody keeps them. */
  epoch: number;
  last: number;
}

export type StateBlock =
  | { type: 'head'; at: number; head: StateFileHead }
  /** Whole records, as in a segment. */
  | { type: 'entries'; at: number; shard: number; records: Buffer }
  | ({ type: 'shard'; at: number } & ShardEnd)
  | { type: 'end'; at: number; shards: number; entries: number };

/** Bytes of a file from an offset on, as many as are asked for unless it ends before. */
export type ReadAt = (at: number, length: number) => Promise<Buffer>;

/** Where a writer was. */
export interface StateFileMark {
  bytes: number;
  hash: Hash;
  shards: number;
  entries: number;
}

/** Makes the bytes of a file, to be written one after the other. */
export class StateFileWriter {
  #hash = createHash('sha256');
  #bytes = 0;
  #shards = 0;
  #entries = 0;

  /** Of what was made so far. */
  get bytes(): number {
    return this.#bytes;
  }

  get counts(): { shards: number; entries: number } {
    return { shards: this.#shards, entries: this.#entries };
  }

  begin(head: StateFileHead): Buffer {
    const text = JSON.stringify({ format: FORMAT, ...head });
    return this.#made(Buffer.concat([MAGIC, block(BLOCK.head, Buffer.from(text))]));
  }

  entries(shard: number, records: Uint8Array): Buffer {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(shard);
    return this.#made(block(BLOCK.entries, Buffer.concat([number, records])));
  }

  shardEnd({ shard, entries, epoch, last }: ShardEnd): Buffer {
    const payload = Buffer.alloc(28);
    payload.writeUInt32LE(shard);
    for (const [i, each] of [entries, epoch, last].entries()) payload.writeDoubleLE(each, 4 + 8 * i);
    this.#shards += 1;
    this.#entries += entries;
    return this.#made(block(BLOCK.shard, payload));
  }

  end(): Buffer {
    const payload = Buffer.alloc(16 + SHA_BYTES);
    payload.writeDoubleLE(this.#shards);
    payload.writeDoubleLE(this.#entries, 8);
    this.#hash.copy().digest().copy(payload, 16);
    return this.#made(block(BLOCK.end, payload));
  }

  mark(): StateFileMark {
    return { bytes: this.#bytes, hash: this.#hash.copy(), shards: this.#shards, entries: this.#entries };
  }

  /** What was made since the mark is no part of the file: it is to be cut off at `mark.bytes`. */
  rewind({ bytes, hash, shards, entries }: StateFileMark): void {
    this.#bytes = bytes;
    this.#hash = hash.copy();
    this.#shards = shards;
    this.#entries = entries;
  }

  #made(bytes: Buffer): Buffer {
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    return bytes;
  }
}

function block(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafeSlow(BLOCK_HEAD_BYTES + payload.length + CRC_BYTES);
  bytes.writeUInt32LE(payload.length);
  bytes.writeUInt32LE(type, 4);
  bytes.set(payload, BLOCK_HEAD_BYTES);
  const end = BLOCK_HEAD_BYTES + payload.length;
  bytes.writeUInt32LE(crc32(bytes.subarray(0, end)), end);
  return bytes;
}

/**
 * The blocks of a file, each checked before it is answered; after the last one the file is known to be whole, and nothing follows
 * it. Throws SHOAL_E_STATE_DAMAGED with the offset of what is wrong. Memory: one block.
 */
export async function* readStateFile(read: ReadAt): AsyncGenerator<StateBlock> {
  const hash = createHash('sha256');
  const magic = await read(0, MAGIC.length);
  if (!magic.equals(MAGIC)) throw damaged(0, 'this is no file of state, or of another version');
  hash.update(magic);
  const order = new Order();
  for (let at = MAGIC.length; ; ) {
    const { type, payload, bytes } = await readBlock(read, at);
    const digest = type === BLOCK.end ? hash.digest() : null;
    const found = parse(type, payload, at, digest);
    order.take(found);
    yield found;
    at += bytes.length;
    if (digest !== null) {
      if ((await read(at, 1)).length > 0) throw damaged(at, 'something follows the end');
      return;
    }
    hash.update(bytes);
  }
}

async function readBlock(read: ReadAt, at: number): Promise<{ type: number; payload: Buffer; bytes: Buffer }> {
  const head = await read(at, BLOCK_HEAD_BYTES);
  if (head.length < BLOCK_HEAD_BYTES) throw cutOff(at + head.length);
  const length = head.readUInt32LE();
  if (length > PAYLOAD_BYTES_MAX) throw damaged(at, `a block says that it has ${length} bytes`);
  const rest = await read(at + BLOCK_HEAD_BYTES, length + CRC_BYTES);
  if (rest.length < length + CRC_BYTES) throw cutOff(at + BLOCK_HEAD_BYTES + rest.length);
  const payload = rest.subarray(0, length);
  if (crc32(payload, crc32(head)) !== rest.readUInt32LE(length)) throw damaged(at, 'the checksum of a block is wrong');
  return { type: head.readUInt32LE(4), payload, bytes: Buffer.concat([head, rest]) };
}

/** `digest`: of all bytes before, for the end. */
function parse(type: number, payload: Buffer, at: number, digest: Buffer | null): StateBlock {
  if (type === BLOCK.head) return { type: 'head', at, head: parseHead(payload, at) };
  if (type === BLOCK.entries && payload.length >= 4) {
    return { type: 'entries', at, shard: payload.readUInt32LE(), records: payload.subarray(4) };
  }
  if (type === BLOCK.shard && payload.length === 28) {
    const [entries, epoch, last] = [4, 12, 20].map((from) => countAt(payload, from, at)) as [number, number, number];
    return { type: 'shard', at, shard: payload.readUInt32LE(), entries, epoch, last };
  }
  if (digest !== null && payload.length === 16 + SHA_BYTES) {
    if (!payload.subarray(16).equals(digest)) throw damaged(at, 'the checksum of the whole file is wrong');
    return { type: 'end', at, shards: countAt(payload, 0, at), entries: countAt(payload, 8, at) };
  }
  throw damaged(at, `a block of type ${type} and ${payload.length} bytes makes no sense`);
}

function parseHead(payload: Buffer, at: number): StateFileHead {
  const fail = () => damaged(at, 'the head makes no sense');
  if (payload.length > HEAD_BYTES_MAX) throw fail();
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    throw fail();
  }
  const { format, app, component, mode, shards, atMs } = (value ?? {}) as Record<string, unknown>;
  if (format !== FORMAT) throw damaged(at, `the file has format ${String(format)}, and this version reads ${FORMAT}`);
  const isNamed = typeof app === 'string' && typeof component === 'string';
  if (!isNamed || mode !== 'partitioned' || !isCount(shards) || shards < 1 || shards > LIMITS.shardCountMax)
    throw fail();
  if (!isCount(atMs) || atMs > TIME_MS_MAX) throw fail();
  return { app, component, mode, shards, atMs };
}

/** That blocks come in their order, and that their counts are right. */
class Order {
  #head: StateFileHead | null = null;
  readonly #done = new Set<number>();
  /** The shard whose entries come now. */
  #shard: number | null = null;
  #entries = 0;
  #allEntries = 0;

  take(found: StateBlock): void {
    const { at } = found;
    if (this.#head === null || found.type === 'head') {
      if (this.#head !== null || found.type !== 'head') throw damaged(at, 'the head is not first, or there twice');
      this.#head = found.head;
      return;
    }
    if (found.type === 'entries') this.#takeEntries(found, this.#head);
    else if (found.type === 'shard') this.#takeShard(found, this.#head);
    else this.#takeEnd(found);
  }

  #takeEntries({ shard, records, at }: Extract<StateBlock, { type: 'entries' }>, head: StateFileHead): void {
    this.#shard ??= shard;
    if (shard !== this.#shard) throw damaged(at, `shard ${this.#shard} has no end`);
    try {
      for (const { bytes } of recordsIn(records)) {
        if (shardOfKey(readEntry(bytes).key, head.shards) !== shard)
          throw damaged(at, `an entry is not of shard ${shard}`);
        this.#entries += 1;
      }
    } catch (cause) {
      throw damaged(at, (cause as Error).message, cause);
    }
  }

  #takeShard({ shard, entries, at }: Extract<StateBlock, { type: 'shard' }>, { shards }: StateFileHead): void {
    if (this.#shard !== null && this.#shard !== shard) throw damaged(at, `shard ${this.#shard} has no end`);
    if (shard >= shards || this.#done.has(shard))
      throw damaged(at, `shard ${shard} is none of ${shards}, or there twice`);
    if (entries !== this.#entries) throw damaged(at, `shard ${shard} has ${this.#entries} entries of ${entries}`);
    this.#done.add(shard);
    this.#allEntries += entries;
    this.#shard = null;
    this.#entries = 0;
  }

  #takeEnd({ shards, entries, at }: Extract<StateBlock, { type: 'end' }>): void {
    if (this.#shard !== null) throw damaged(at, `shard ${this.#shard} has no end`);
    if (shards !== this.#done.size || entries !== this.#allEntries) throw damaged(at, 'the end has other counts');
  }
}

function countAt(payload: Buffer, from: number, at: number): number {
  const count = payload.readDoubleLE(from);
  if (isCount(count)) return count;
  throw damaged(at, `a count is ${count}`);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function cutOff(at: number): ShoalError {
  return damaged(at, 'the file ends too early: it is cut off');
}

function damaged(at: number, what: string, cause?: unknown): ShoalError {
  return new ShoalError('SHOAL_E_STATE_DAMAGED', `at byte ${at}: ${what}`, { cause });
}
