import { Packr, RESERVE_START_SPACE } from 'msgpackr';
import { ShoalError, toShoalError } from './errors.js';
import { LIMITS } from './limits.js';

/** Wire format: 4 bytes little-endian length of the body, then the body in msgpack. Used on every socket of Shoal. */
const HEADER_BYTES = 4;
// Records would let one side's structure table grow with the other's input; plain maps keep frames independent.
const packr = new Packr({ useRecords: false, moreTypes: false });

/** msgpack's sign of a buffer of so many bytes at most; its length follows. */
const SHORT_BUFFER = 0xc4;
const SHORT_BUFFER_BYTES_MAX = 255;
/** Of what msgpackr can leave free in front. */
const RESERVED_BYTES_MAX = 255;

/** For bytes that are used again after a message was read from them: copies what would else be a view of them. */
const copier = new Packr({ useRecords: false, moreTypes: false, copyBuffers: true });

/** The message in msgpack, without the length. Throws SHOAL_E_FRAME when it is too long or msgpack cannot hold it. */
export function encodeBody(message: unknown): Buffer {
  return encode(message);
}

function encode(message: unknown, options?: number): Buffer {
  let body: Buffer;
  try {
    body = packr.pack(message, options);
  } catch (cause) {
    throw new ShoalError('SHOAL_E_FRAME', `cannot be encoded: ${toShoalError(cause).message}`, { cause });
  }
  if (body.length > LIMITS.frameBytesMax) {
    throw new ShoalError('SHOAL_E_FRAME', `frame of ${body.length} bytes exceeds the limit of ${LIMITS.frameBytesMax}`);
  }
  return body;
}

/**
 * The bytes of `head`, and after them the value in msgpack, to be written to by the caller: the head may have holes for it.
 * Throws SHOAL_E_FRAME as encodeBody does.
 */
export function encodeAfter(head: Uint8Array, value: unknown): Buffer {
  if (Buffer.isBuffer(value) && value.length <= SHORT_BUFFER_BYTES_MAX) return shortBufferAfter(head, value);
  if (head.length > RESERVED_BYTES_MAX) return Buffer.concat([head, encodeBody(value)]);
  const bytes = encode(value, RESERVE_START_SPACE | head.length);
  bytes.set(head);
  return bytes;
}

function shortBufferAfter(head: Uint8Array, value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(head.length + 2 + value.length);
  bytes.set(head);
  bytes[head.length] = SHORT_BUFFER;
  bytes[head.length + 1] = value.length;
  bytes.set(value, head.length + 2);
  return bytes;
}

/** Throws SHOAL_E_FRAME when the bytes are not msgpack. Buffers within the message are views of `bytes`. */
export function decodeBody(bytes: Uint8Array): unknown {
  return decode(packr, bytes, 0, bytes.length);
}

/** The same for a part of bytes that are used again afterwards: the message keeps none of them. */
export function decodeBorrowed(bytes: Uint8Array, start: number, end: number): unknown {
  const length = end - start - 2;
  if (bytes[start] !== SHORT_BUFFER || bytes[start + 1] !== length) return decode(copier, bytes, start, end);
  const value = Buffer.allocUnsafe(length);
  value.set(bytes.subarray(start + 2, end));
  return value;
}

function decode(unpacker: Packr, bytes: Uint8Array, start: number, end: number): unknown {
  try {
    return unpacker.unpack(bytes as Buffer, { start, end });
  } catch (cause) {
    throw new ShoalError('SHOAL_E_FRAME', 'peer sent a frame that is not msgpack', { cause });
  }
}

export function encodeFrame(message: unknown): Buffer {
  const body = encodeBody(message);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  frame.writeUInt32LE(body.length, 0);
  body.copy(frame, HEADER_BYTES);
  return frame;
}

/** Cuts a byte stream into messages. Throws SHOAL_E_FRAME on a frame that is too long or not msgpack. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): unknown[] {
    this.#keep(chunk);
    this.#bytes += chunk.length;
    const messages: unknown[] = [];
    while (this.#bytes >= HEADER_BYTES) {
      const length = this.#peekLength();
      if (length > LIMITS.frameBytesMax) {
        throw new ShoalError(
          'SHOAL_E_FRAME',
          `peer announced a frame of ${length} bytes, limit ${LIMITS.frameBytesMax}`,
        );
      }
      if (this.#bytes < HEADER_BYTES + length) break;
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      const body = all.subarray(HEADER_BYTES, HEADER_BYTES + length);
      messages.push(decodeBody(body));
      const rest = all.subarray(HEADER_BYTES + length);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#bytes = rest.length;
    }
    return messages;
  }

  /**
   * Each kept chunk is larger than the next: a peer that sends byte by byte makes few of them, and no byte is copied
   * more often than the logarithm of the frame's length.
   */
  #keep(chunk: Buffer): void {
    let last = chunk;
    for (let before = this.#chunks.at(-1); before !== undefined && before.length <= last.length; ) {
      this.#chunks.pop();
      last = Buffer.concat([before, last]);
      before = this.#chunks.at(-1);
    }
    this.#chunks.push(last);
  }

  #peekLength(): number {
    const first = this.#chunks[0] as Buffer;
    if (first.length >= HEADER_BYTES) return first.readUInt32LE(0);
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all.readUInt32LE(0);
  }
}
