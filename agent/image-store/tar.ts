/** What an entry of an archive is; devices and pipes are told apart from what can be unpacked. */
export type TarKind = 'file' | 'folder' | 'symbolic-link' | 'hard-link' | 'device';

export interface TarEntry {
  kind: TarKind;
  /** As the archive has it: whoever writes files from it looks at it first. */
  path: string;
  /** Of links: where to. */
  target: string;
  mode: number;
  uid: number;
  gid: number;
  mtimeSeconds: number;
  bytes: number;
}

export interface TarSink {
  entry(entry: TarEntry): void;
  /** Content of the entry that was told last. */
  data(chunk: Buffer): void;
  end(): void;
}

export class TarError extends Error {}

const BLOCK = 512;
/** Of a header that extends the next one: a path or a few attributes. */
const EXTENSION_BYTES_MAX = 1024 * 1024;
const NAME_BYTES_MAX = 4_096;

/** Names that the next header takes over: pax extended header, and GNU's long names. */
type Extension = Partial<Record<string, string>>;

/**
 * Reads a tar archive that comes in pieces: POSIX.1-2001 pax with ustar, and the GNU forms of long names and large
 * numbers (POSIX pax(1) "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"). Holds one block and one
 * extension at most. Throws TarError at the first thing that is wrong.
 */
export class TarReader {
  readonly #sink: TarSink;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of content still to come, and of the padding after it. */
  #content = 0;
  #padding = 0;
  #collecting: { type: string; parts: Buffer[] } | undefined;
  #extension: Extension = {};
  #inEntry = false;
  #ended = false;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length > 0) {
      const taken = this.#take(bytes);
      if (taken === 0) break;
      bytes = bytes.subarray(taken);
    }
    // A copy: the caller may use its buffer again.
    this.#rest = Buffer.from(bytes);
  }

  /** No more comes. */
  finish(): void {
    const inside = this.#content > 0 || this.#padding > 0 || this.#collecting !== undefined || this.#inEntry;
    if (!this.#ended && (inside || this.#rest.length > 0)) throw new TarError('the archive is cut off');
  }

  /** How many of the bytes were used; 0 when more are needed. */
  #take(bytes: Buffer): number {
    // What follows the end of the archive is padding to the size of a tape's record.
    if (this.#ended) return bytes.length;
    if (this.#content > 0) {
      const part = bytes.subarray(0, this.#content);
      this.#content -= part.length;
      if (this.#collecting !== undefined) this.#collecting.parts.push(Buffer.from(part));
      else this.#sink.data(part);
      if (this.#content === 0) this.#contentEnds();
      return part.length;
    }
    if (this.#padding > 0) {
      const skipped = Math.min(this.#padding, bytes.length);
      this.#padding -= skipped;
      return skipped;
    }
    if (bytes.length < BLOCK) return 0;
    this.#header(bytes.subarray(0, BLOCK));
    return BLOCK;
  }

  #header(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      this.#ended = true;
      return;
    }
    if (numberIn(block, 148, 8) !== checksum(block)) throw new TarError('a header has a wrong checksum');
    const type = String.fromCharCode(block[156] ?? 0);
    const extension = this.#extension;
    const size = extension.size !== undefined ? Number(extension.size) : numberIn(block, 124, 12);
    if (!Number.isSafeInteger(size) || size < 0) throw new TarError('an entry has an impossible size');
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      if (size > EXTENSION_BYTES_MAX) throw new TarError(`an extended header has ${size} bytes`);
      this.#collecting = { type, parts: [] };
      this.#expect(size);
      return;
    }
    this.#extension = {};
    const entry = entryOf(block, type, extension, size);
    this.#inEntry = true;
    this.#sink.entry(entry);
    this.#expect(entry.bytes);
  }

  #expect(bytes: number): void {
    this.#content = bytes;
    this.#padding = (BLOCK - (bytes % BLOCK)) % BLOCK;
    if (bytes === 0) this.#contentEnds();
  }

  #contentEnds(): void {
    const { type, parts } = this.#collecting ?? {};
    this.#collecting = undefined;
    if (type === undefined) {
      this.#inEntry = false;
      this.#sink.end();
      return;
    }
    const content = Buffer.concat(parts ?? []);
    if (type === 'x') Object.assign(this.#extension, paxRecords(content));
    else if (type === 'L') this.#extension.path = textOf(content);
    else if (type === 'K') this.#extension.linkpath = textOf(content);
    // 'g' holds for all that follows; of an image's layers nothing in it is needed.
  }
}

function entryOf(block: Buffer, type: string, extension: Extension, size: number): TarEntry {
  if (type === 'S' || Object.keys(extension).some((key) => key.startsWith('GNU.sparse'))) {
    throw new TarError('sparse files are not supported');
  }
  const path = extension.path ?? pathOf(block);
  const kind = kindOf(type, path);
  const target = extension.linkpath ?? textOf(block.subarray(157, 257));
  for (const name of [path, target]) {
    if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new TarError('a name is too long');
  }
  const number = (key: string, offset: number, length: number) =>
    extension[key] === undefined ? numberIn(block, offset, length) : Math.floor(Number(extension[key]));
  const entry = {
    kind,
    path,
    target,
    mode: numberIn(block, 100, 8) & 0o7777,
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    mtimeSeconds: number('mtime', 136, 12),
    // Links and folders may tell a size that no content belongs to.
    bytes: kind === 'file' || kind === 'device' ? size : 0,
  };
  if (![entry.uid, entry.gid, entry.mtimeSeconds].every(Number.isSafeInteger)) {
    throw new TarError(`${path} has an impossible owner or time`);
  }
  return entry;
}

function kindOf(type: string, path: string): TarKind {
  if (type === '0' || type === '\0' || type === '7') return path.endsWith('/') ? 'folder' : 'file';
  if (type === '1') return 'hard-link';
  if (type === '2') return 'symbolic-link';
  if (type === '3' || type === '4' || type === '6') return 'device';
  if (type === '5') return 'folder';
  throw new TarError(`${path} is of the unknown kind ${JSON.stringify(type)}`);
}

function pathOf(block: Buffer): string {
  const name = textOf(block.subarray(0, 100));
  // The GNU form, "ustar  ", has other things where POSIX has the prefix.
  const prefix = block.subarray(257, 263).equals(Buffer.from('ustar\0')) ? textOf(block.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Up to the first zero byte. */
function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  const used = end < 0 ? bytes : bytes.subarray(0, end);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(used);
  } catch {
    throw new TarError(`the name ${JSON.stringify(used.toString('latin1'))} is not UTF-8`);
  }
}

/** Octal digits, or GNU's big-endian two's complement behind a byte of 0x80 (0xff: negative). */
function numberIn(block: Buffer, offset: number, length: number): number {
  const field = block.subarray(offset, offset + length);
  const first = field[0] ?? 0;
  if ((first & 0x80) !== 0) {
    const bits = BigInt(`0x${field.toString('hex')}`);
    const width = BigInt(length * 8);
    const value = first === 0xff ? bits - (1n << width) : bits & ((1n << (width - 1n)) - 1n);
    return Number(value);
  }
  const text = field.toString('latin1').replace(/\0.*$/s, '').trim();
  if (!/^[0-7]*$/.test(text)) throw new TarError('a number of a header is not octal');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

/** Of all bytes, with the field itself taken as spaces. */
function checksum(block: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i += 1) sum += i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
  return sum;
}

/** Records of `LENGTH KEY=VALUE\n`, the length being that of the whole record in bytes. */
function paxRecords(content: Buffer): Extension {
  const found: Extension = {};
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(content.toString('latin1', at, space));
    const end = at + length;
    if (!Number.isSafeInteger(length) || end <= space + 1 || end > content.length || content[end - 1] !== 0x0a) {
      throw new TarError('an extended header has a broken record');
    }
    const equals = content.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw new TarError('an extended header has a record without a value');
    const key = content.toString('latin1', space + 1, equals);
    // Values of other keys, such as attributes of files, may be any bytes and are not used.
    const used = ['path', 'linkpath', 'size', 'uid', 'gid', 'mtime'].includes(key) || key.startsWith('GNU.sparse');
    if (used) found[key] = textOf(content.subarray(equals + 1, end - 1));
    at = end;
  }
  return found;
}
