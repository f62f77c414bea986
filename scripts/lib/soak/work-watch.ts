import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const CHUNK_BYTES = 1024 * 1024;
/** As shims write logs (the time, the stream, the text), what demo/witness.mts says: handler, state shards, what was asked. */
const ANSWERS = /\banswers (\S+) (\S+) (.+)$/;
const DEMO = /^search-(front|tokenizer|index)-/;

/**
 * What the instances of the demo say in their logs (demo/witness.mts): that every call was answered by one of them, once; of a
 * call of all state shards, each by one. What an instance says in the last moment before it is removed may go unread.
 */
export class WorkWatch {
  readonly #runs: () => string[];
  readonly #read = new Map<string, { at: number; rest: string }>();
  /** Call → who answered it, and for which state shards. */
  readonly #answers = new Map<string, { by: string; shards: string }[]>();

  /** `runs`: state folders of the hosts. */
  constructor(runs: () => string[]) {
    this.#runs = runs;
  }

  /** Calls that were seen to be answered. */
  get answered(): number {
    return this.#answers.size;
  }

  /** Reads what is new. Throws what is wrong. */
  async look(): Promise<void> {
    for (const run of this.#runs()) {
      const instances = join(run, 'instances');
      for (const id of await readdir(instances).catch(() => [])) {
        if (!DEMO.test(id)) continue;
        for (const line of await this.#newLines(join(instances, id, 'log'))) this.#take(id, line);
      }
    }
  }

  #take(instance: string, line: string): void {
    const [, handler, shards, asked] = ANSWERS.exec(line) ?? [];
    if (handler === undefined || shards === undefined) return;
    const call = `${handler} ${asked}`;
    const answers = this.#answers.get(call) ?? [];
    const here = new Set(shards.split(','));
    for (const before of answers) {
      const twice = before.shards.split(',').filter((shard) => here.has(shard));
      if (twice.length === 0) continue;
      const where = twice[0] === '-' ? '' : ` (state shard ${twice[0]})`;
      throw new Error(`${call}${where} was answered by ${before.by} and again by ${instance}`);
    }
    this.#answers.set(call, [...answers, { by: instance, shards }]);
  }

  async #newLines(path: string): Promise<string[]> {
    const file = await open(path).catch(() => null);
    if (file === null) return [];
    try {
      const { size, ino } = await file.stat();
      const key = `${path}:${ino}`;
      const { at, rest } = this.#read.get(key) ?? { at: 0, rest: '' };
      if (size <= at) return [];
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(CHUNK_BYTES, size - at)), { position: at });
      const lines = `${rest}${buffer.toString('utf8', 0, bytesRead)}`.split('\n');
      this.#read.set(key, { at: at + bytesRead, rest: lines.pop() ?? '' });
      return lines;
    } finally {
      await file.close();
    }
  }
}
