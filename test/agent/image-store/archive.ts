/** Archives for tests, header by header, so that they can be wrong in any way. */
export interface Header {
  path: string;
  type?: string;
  target?: string;
  content?: string | Buffer;
  mode?: number;
  size?: number;
  uid?: number;
}

export function archive(...headers: Header[]): Buffer {
  return Buffer.concat([...headers.map(entry), Buffer.alloc(1024)]);
}

export function entry({ path, type = '0', target = '', content = '', mode = 0o644, size, uid = 0 }: Header): Buffer {
  const block = Buffer.alloc(512);
  const body = typeof content === 'string' ? Buffer.from(content) : content;
  const octal = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  block.write(path, 0, 100, 'utf8');
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(0, 116, 8);
  octal(size ?? body.length, 124, 12);
  octal(1_700_000_000, 136, 12);
  block.write(type, 156, 'latin1');
  block.write(target, 157, 100, 'utf8');
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(0x20, 148, 156);
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return Buffer.concat([block, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

export function pax(records: Record<string, string>): Header {
  const content = Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = Buffer.byteLength(rest);
      while (length !== Buffer.byteLength(rest) + String(length).length) {
        length = Buffer.byteLength(rest) + String(length).length;
      }
      return `${length}${rest}`;
    })
    .join('');
  return { path: 'pax', type: 'x', content };
}
