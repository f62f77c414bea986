/** Writes messages in the encoding of protocol buffers (protobuf.dev, Encoding): as much of it as pprof needs. */
const VARINT = 0;
const BYTES = 2;

export class ProtobufWriter {
  #bytes = Buffer.allocUnsafe(1024);
  #length = 0;

  /** A whole number of at most 53 bits; negative ones as two's complement of 64. Zero is the default and not written. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.#varint(field * 8 + VARINT);
    this.#varint(value);
  }

  numbers(field: number, values: readonly number[]): void {
    const packed = new ProtobufWriter();
    for (const value of values) packed.#varint(value);
    this.bytes(field, packed.finish());
  }

  text(field: number, value: string): void {
    this.bytes(field, Buffer.from(value, 'utf8'));
  }

  message(field: number, write: (inner: ProtobufWriter) => void): void {
    const inner = new ProtobufWriter();
    write(inner);
    this.bytes(field, inner.finish());
  }

  bytes(field: number, value: Buffer): void {
    this.#varint(field * 8 + BYTES);
    this.#varint(value.length);
    this.#reserve(value.length);
    this.#length += value.copy(this.#bytes, this.#length);
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #varint(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    this.#reserve(10);
    while (rest > 127n) {
      this.#bytes[this.#length] = Number(rest & 127n) | 128;
      this.#length += 1;
      rest >>= 7n;
    }
    this.#bytes[this.#length] = Number(rest);
    this.#length += 1;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#length + bytes));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
