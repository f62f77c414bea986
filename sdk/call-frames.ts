import type { FabricRequest, FabricResponse } from '../protocol/control.js';
import { decodeBorrowed, encodeAfter, encodeBody } from '../protocol/frame.js';

/**
 * The two messages that nearly all traffic is made of, a plain call and its result, without going through a map each time: what
 * is the same in all of them is copied, or compared, and numbers go into their places. The bytes are the msgpack that they
 * were, so that the other side need not know; what looks otherwise goes the usual way.
 */
type Message = FabricRequest | FabricResponse;
type Call = Extract<FabricRequest, { type: 'call' }>;
type Result = Extract<FabricResponse, { type: 'result' }>;

/** Is written as a whole 32-bit number, as all are here. */
const UINT32_MAX = 0xffff_ffff;
const UINT32_BYTES = 4;
const DOUBLE_BYTES = 8;
/** `body: null`: the last key and its value. */
const BODY_BYTES = 6;
/** A text of at most 31 bytes is its length, with these bits, and the bytes. */
const SHORT_TEXT = 0xa0;
const SHORT_TEXT_LENGTH_MAX = 31;
const ASCII_MAX = 0x7f;
/** Handlers of this process's own code that are kept encoded. */
const HANDLERS_MAX = 256;

const call = encodeBody({ type: 'call', id: UINT32_MAX, handler: '', deadlineMs: 0.5, body: null } satisfies Call);
const CALL_ID_AT = call.indexOf(Buffer.from([0xff, 0xff, 0xff, 0xff]));
const HANDLER_AT = call.indexOf('handler') + 'handler'.length;
const CALL_HEAD = Buffer.from(call.subarray(0, HANDLER_AT));
/** From the end of the handler to the body. */
const CALL_TAIL = Buffer.from(call.subarray(HANDLER_AT + 1, -1));
const DEADLINE_IN_TAIL = CALL_TAIL.length - (BODY_BYTES - 1) - DOUBLE_BYTES;

const result = encodeBody({ type: 'result', id: UINT32_MAX, outstanding: UINT32_MAX, body: null } satisfies Result);
const RESULT_HEAD = Buffer.from(result.subarray(0, -1));
const RESULT_ID_AT = result.indexOf(Buffer.from([0xff, 0xff, 0xff, 0xff]));
const OUTSTANDING_AT = RESULT_HEAD.length - (BODY_BYTES - 1) - UINT32_BYTES;
/** Each with one number in it. */
const RESULT_START = RESULT_HEAD.subarray(0, RESULT_ID_AT + UINT32_BYTES);
const RESULT_TAIL = RESULT_HEAD.subarray(RESULT_START.length);

const callHeads = new Map<string, Buffer>();

function callHead(handler: string): Buffer {
  let head = callHeads.get(handler);
  if (head === undefined) {
    head = Buffer.concat([CALL_HEAD, encodeBody(handler), CALL_TAIL]);
    if (callHeads.size >= HANDLERS_MAX) callHeads.clear();
    callHeads.set(handler, head);
  }
  return head;
}

/** Throws SHOAL_E_FRAME when the message is too long or msgpack cannot hold it. */
export function encodeMessage(message: Message): Buffer {
  if (message.type === 'call' && isPlain(message)) return encodeCall(message);
  if (message.type === 'result' && isUint32(message.id)) return encodeResult(message);
  return encodeBody(message);
}

function isUint32(value: number): boolean {
  return value >>> 0 === value;
}

type PlainCall = Call & { deadlineMs: number };

function isPlain(message: Call): message is PlainCall {
  const { id, deadlineMs, key, shards, stream, input } = message;
  if (key !== undefined || shards !== undefined || stream !== undefined || input !== undefined) return false;
  return deadlineMs !== undefined && isUint32(id);
}

function encodeCall({ id, handler, deadlineMs, body }: PlainCall): Buffer {
  const head = callHead(handler);
  const bytes = encodeAfter(head, body);
  bytes.writeUInt32BE(id, CALL_ID_AT);
  bytes.writeDoubleBE(deadlineMs, head.length - CALL_TAIL.length + DEADLINE_IN_TAIL);
  return bytes;
}

function encodeResult({ id, outstanding, body }: Result): Buffer {
  const bytes = encodeAfter(RESULT_HEAD, body);
  bytes.writeUInt32BE(id, RESULT_ID_AT);
  bytes.writeUInt32BE(outstanding, OUTSTANDING_AT);
  return bytes;
}

/** From the first `length` of bytes that are used again. It need not be a message: that is for who takes it. Throws SHOAL_E_FRAME. */
export function decodeMessage(bytes: Buffer, length: number): unknown {
  return decodeCall(bytes, length) ?? decodeResult(bytes, length) ?? decodeBorrowed(bytes, 0, length);
}

function decodeCall(bytes: Buffer, length: number): Call | undefined {
  if (length <= HANDLER_AT || !isFilledIn(CALL_HEAD, bytes, 0, CALL_ID_AT, UINT32_BYTES)) return undefined;
  const handlerLength = (bytes[HANDLER_AT] as number) - SHORT_TEXT;
  if (handlerLength < 0 || handlerLength > SHORT_TEXT_LENGTH_MAX) return undefined;
  const tailAt = HANDLER_AT + 1 + handlerLength;
  const bodyAt = tailAt + CALL_TAIL.length;
  if (bodyAt >= length || !isFilledIn(CALL_TAIL, bytes, tailAt, DEADLINE_IN_TAIL, DOUBLE_BYTES)) return undefined;
  for (let i = HANDLER_AT + 1; i < tailAt; i += 1) if ((bytes[i] as number) > ASCII_MAX) return undefined;
  return {
    type: 'call',
    id: bytes.readUInt32BE(CALL_ID_AT),
    handler: bytes.toString('latin1', HANDLER_AT + 1, tailAt),
    deadlineMs: bytes.readDoubleBE(tailAt + DEADLINE_IN_TAIL),
    body: decodeBorrowed(bytes, bodyAt, length),
  };
}

function decodeResult(bytes: Buffer, length: number): Result | undefined {
  const bodyAt = RESULT_HEAD.length;
  if (bodyAt >= length || !isFilledIn(RESULT_START, bytes, 0, RESULT_ID_AT, UINT32_BYTES)) return undefined;
  const outstandingAt = OUTSTANDING_AT - RESULT_START.length;
  if (!isFilledIn(RESULT_TAIL, bytes, RESULT_START.length, outstandingAt, UINT32_BYTES)) return undefined;
  return {
    type: 'result',
    id: bytes.readUInt32BE(RESULT_ID_AT),
    outstanding: bytes.readUInt32BE(OUTSTANDING_AT),
    body: decodeBorrowed(bytes, bodyAt, length),
  };
}

/** Whether the bytes at `at` are those of the form, but for one hole. */
function isFilledIn(form: Uint8Array, bytes: Uint8Array, at: number, hole: number, holeBytes: number): boolean {
  for (let i = 0; i < hole; i += 1) if (bytes[at + i] !== form[i]) return false;
  for (let i = hole + holeBytes; i < form.length; i += 1) if (bytes[at + i] !== form[i]) return false;
  return true;
}
