import { mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { isErrno } from '../cgroup.js';

/** A block of bytes that stands for a span of time. */
export interface Block {
  fromMs: number;
  toMs: number;
  bytes: Buffer;
}

const SEGMENT = /^(\d{1,15})\.ring$/;
const SEGMENTS = 8;
/** Mark, length of the bytes, CRC-32 of all after it, from and to in ms. */
const MARK = 0x53_48_50_31;
const HEADER_BYTES = 28;
const CHECKED_FROM = 12;

/**
 * Blocks in files, the oldest of which go when there are too many bytes. Whoever is killed while writing leaves at most
 * one block that is cut off; its check sum tells, it is passed over, and the next process begins a file of its own.
 */
export class RingFolder {
  #segment: { number: number; bytes: number } | null = null;

  constructor(
    readonly folder: string,
    private readonly bytesMax: number,
  ) {}

  async append({ fromMs, toMs, bytes }: Block): Promise<void> {
    const record = Buffer.alloc(HEADER_BYTES + bytes.length);
    record.writeUInt32LE(MARK, 0);
    record.writeUInt32LE(bytes.length, 4);
    record.writeDoubleLE(fromMs, CHECKED_FROM);
    record.writeDoubleLE(toMs, CHECKED_FROM + 8);
    bytes.copy(record, HEADER_BYTES);
    record.writeUInt32LE(crc32(record.subarray(CHECKED_FROM)), 8);
    const segment = await this.#segmentFor(record.length);
    const file = await open(this.#path(segment.number), 'a', 0o600);
    try {
      await file.writeFile(record);
    } catch (error) {
      // What is cut off hides what comes after it in the same file.
      this.#segment = null;
      throw error;
    } finally {
      await file.close();
    }
    segment.bytes += record.length;
  }

  /** Blocks of which the middle is within the span, oldest first. */
  async read(fromMs: number, toMs: number): Promise<Block[]> {
    const found: Block[] = [];
    for (const number of await this.#numbers()) {
      for (const block of blocksOf(await readIfThere(this.#path(number)))) {
        const middle = (block.fromMs + block.toMs) / 2;
        if (middle >= fromMs && middle < toMs) found.push(block);
      }
    }
    return found;
  }

  /** The beginning of the oldest block; null when there is none. */
  async oldestMs(): Promise<number | null> {
    for (const number of await this.#numbers()) {
      for (const { fromMs } of blocksOf(await readIfThere(this.#path(number)))) return fromMs;
    }
    return null;
  }

  async bytes(): Promise<number> {
    let sum = 0;
    for (const number of await this.#numbers()) sum += (await stat(this.#path(number))).size;
    return sum;
  }

  async #segmentFor(length: number): Promise<{ number: number; bytes: number }> {
    if (this.#segment !== null && this.#segment.bytes + length <= this.bytesMax / SEGMENTS) return this.#segment;
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const numbers = await this.#numbers();
    // The rest is room for the segments that are begun: with them it is the bound.
    for (const old of numbers.slice(0, Math.max(0, numbers.length - (SEGMENTS - 1)))) await rm(this.#path(old));
    this.#segment = { number: (numbers.at(-1) ?? 0) + 1, bytes: 0 };
    return this.#segment;
  }

  async #numbers(): Promise<number[]> {
    try {
      const names = await readdir(this.folder);
      return names.flatMap((name) => SEGMENT.exec(name)?.slice(1, 2).map(Number) ?? []).sort((a, b) => a - b);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }

  #path(number: number): string {
    return join(this.folder, `${number}.ring`);
  }
}

/** The whole blocks up to the first that is damaged. */
function* blocksOf(bytes: Buffer): Generator<Block> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const end = at + HEADER_BYTES + bytes.readUInt32LE(at + 4);
    if (bytes.readUInt32LE(at) !== MARK || end > bytes.length) return;
    if (crc32(bytes.subarray(at + CHECKED_FROM, end)) !== bytes.readUInt32LE(at + 8)) return;
    const fromMs = bytes.readDoubleLE(at + CHECKED_FROM);
    const toMs = bytes.readDoubleLE(at + CHECKED_FROM + 8);
    yield { fromMs, toMs, bytes: bytes.subarray(at + HEADER_BYTES, end) };
    at = end;
  }
}

async function readIfThere(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    // The oldest file goes while it is being looked for.
    if (isErrno(error, 'ENOENT')) return Buffer.alloc(0);
    throw error;
  }
}
