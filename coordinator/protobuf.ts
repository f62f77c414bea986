/**
 * The part of protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding/) that the messages of etcd and pprof use:
 * varints and length-delimited fields.
 */
const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;
/** A varint has at most so many bytes: 64 bits, 7 in each. */
const VARINT_BYTES_MAX = 10;

export type Bytes = Uint8Array;

/** The fields of a message that is being written; those that have their default value are left out. */
export class Message {
  readonly #parts: Bytes[] = [];
  #length = 0;

  int(field: number, value: number | bigint | boolean): this {
    const number = BigInt(value);
    if (number === 0n) return this;
    return this.#add(varint((field << 3) | VARINT), varint(BigInt.asUintN(64, number)));
  }

  /** Bytes, or text as UTF-8. */
  bytes(field: number, value: Bytes | string): this {
    return value.length === 0 ? this : this.#delimited(field, typeof value === 'string' ? Buffer.from(value) : value);
  }

  /** A message inside, also an empty one: that it is there says something. */
  message(field: number, value: Message): this {
    return this.#delimited(field, value.encode());
  }

  messages(field: number, values: readonly Message[]): this {
    for (const value of values) this.message(field, value);
    return this;
  }

  /** A list of texts, of which an empty one is an element too. */
  texts(field: number, values: readonly string[]): this {
    for (const value of values) this.#delimited(field, Buffer.from(value));
    return this;
  }

  /** A list of numbers in one field ("packed"), zeros among them. */
  ints(field: number, values: readonly number[]): this {
    const packed = values.map((value) => varint(BigInt.asUintN(64, BigInt(value))));
    return this.#delimited(field, Buffer.concat(packed));
  }

  encode(): Bytes {
    return Buffer.concat(this.#parts, this.#length);
  }

  #delimited(field: number, value: Bytes): this {
    return this.#add(varint((field << 3) | DELIMITED), varint(value.length), value);
  }

  #add(...parts: Bytes[]): this {
    for (const part of parts) {
      this.#parts.push(part);
      this.#length += part.length;
    }
    return this;
  }
}

/** The fields of a message that was read. Throws RangeError on bytes that are no message. */
export class Fields {
  readonly #values = new Map<number, (bigint | Buffer)[]>();

  constructor(bytes: Buffer) {
    const cursor = new Cursor(bytes);
    while (!cursor.atEnd) {
      const tag = Number(cursor.varint());
      const value = cursor.value(tag & 7);
      const field = tag >>> 3;
      const before = this.#values.get(field);
      if (before === undefined) this.#values.set(field, [value]);
      else before.push(value);
    }
  }

  bigint(field: number): bigint {
    const value = this.#values.get(field)?.at(-1) ?? 0n;
    if (typeof value !== 'bigint') throw new RangeError(`field ${field} is no number`);
    return BigInt.asIntN(64, value);
  }

  int(field: number): number {
    const value = Number(this.bigint(field));
    if (!Number.isSafeInteger(value)) throw new RangeError(`field ${field} holds ${value}, which is no exact number`);
    return value;
  }

  bytes(field: number): Buffer {
    return this.all(field).at(-1) ?? Buffer.alloc(0);
  }

  /** A message inside; an empty one when it is not there. */
  message(field: number): Fields {
    return new Fields(this.bytes(field));
  }

  messages(field: number): Fields[] {
    return this.all(field).map((each) => new Fields(each));
  }

  all(field: number): Buffer[] {
    return (this.#values.get(field) ?? []).map((value) => {
      if (typeof value === 'bigint') throw new RangeError(`field ${field} is a number`);
      return value;
    });
  }
}

class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let i = 0; i < VARINT_BYTES_MAX; i += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw new RangeError('a message ends within a number');
      this.#at += 1;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than ten bytes');
  }

  value(type: number): bigint | Buffer {
    if (type === VARINT) return this.varint();
    if (type === DELIMITED) return this.#take(Number(this.varint()));
    if (type === FIXED64) return this.#take(8).readBigUInt64LE();
    if (type === FIXED32) return BigInt(this.#take(4).readUInt32LE());
    throw new RangeError(`wire type ${type} is not known`);
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('a message ends within a field');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

function varint(value: bigint | number): Bytes {
  const bytes: number[] = [];
  let rest = BigInt(value);
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
