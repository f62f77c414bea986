import { type FSWatcher, watch } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';

export const STREAMS = ['stdout', 'stderr'] as const;
export type Stream = (typeof STREAMS)[number];
export type Output = Record<Stream, string>;

/** Follows the two files that a command's output goes to, in a folder that is there already. */
export class OutputFollower {
  readonly output: Output = { stdout: '', stderr: '' };
  readonly #files: { stream: Stream; read: number; decoder: StringDecoder }[];
  readonly #watcher: FSWatcher;
  #reading: Promise<void> = Promise.resolve();

  constructor(
    private readonly folder: string,
    private readonly said: (stream: Stream, text: string) => void,
  ) {
    this.#files = STREAMS.map((stream) => ({ stream, read: 0, decoder: new StringDecoder('utf8') }));
    // A failure is thrown by end(), which reads again.
    this.#watcher = watch(folder, () => void this.#readOn().catch(() => undefined));
  }

  /** Reads what is left and answers all of it. */
  async end(): Promise<Output> {
    this.#watcher.close();
    await this.#reading.catch(() => undefined);
    await this.#readOn();
    return this.output;
  }

  /** One reading at a time, so that no byte is read twice. */
  #readOn(): Promise<void> {
    const reading = this.#reading.catch(() => undefined).then(() => this.#readAll());
    this.#reading = reading;
    return reading;
  }

  async #readAll(): Promise<void> {
    for (const file of this.#files) {
      const bytes = await bytesFrom(join(this.folder, file.stream), file.read);
      if (bytes.length === 0) continue;
      file.read += bytes.length;
      const text = file.decoder.write(bytes);
      this.output[file.stream] += text;
      this.said(file.stream, text);
    }
  }
}

/** The bytes of a file from an offset on; none when there is no such file yet. */
async function bytesFrom(path: string, offset: number): Promise<Buffer> {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (file === null) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.max(0, size - offset));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
