import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const CHUNK_BYTES = 1024 * 1024;
/** As shims write logs: the time, the stream, the text. */
const ANSWERS = /\banswers (\S+)/;
const ASKED = /\basked (\d+) answered (\d+) failed (\d+)/;
const WRONG = /\bwrong (.+)/;

/**
 * What instances that ask and answer (work/) say in their logs: that every question was answered by one of them, once, and
 * that the answer was to that question. What an instance says in the last moment before it is removed may go unread.
 */
export class WorkWatch {
  readonly #runs: () => string[];
  readonly #read = new Map<string, { at: number; rest: string }>();
  readonly #answeredBy = new Map<string, string>();
  readonly #counts = new Map<string, { answered: number; failed: number }>();

  /** `runs`: state folders of the hosts. */
  constructor(runs: () => string[]) {
    this.#runs = runs;
  }

  /** Questions to which there was an answer, and those that failed, of all that ever asked. */
  get answered(): number {
    return [...this.#counts.values()].reduce((sum, { answered }) => sum + answered, 0);
  }
  get failed(): number {
    return [...this.#counts.values()].reduce((sum, { failed }) => sum + failed, 0);
  }

  /** Reads what is new. Throws what is wrong. */
  async look(): Promise<void> {
    for (const run of this.#runs()) {
      const instances = join(run, 'instances');
      for (const id of await readdir(instances).catch(() => [])) {
        if (!/^soak-(many|ask)-/.test(id)) continue;
        for (const line of await this.#newLines(join(instances, id, 'log'))) this.#take(id, line);
      }
    }
  }

  #take(instance: string, line: string): void {
    const question = ANSWERS.exec(line)?.[1];
    if (question !== undefined) {
      const before = this.#answeredBy.get(question);
      if (before !== undefined) throw new Error(`${question} was answered by ${before} and again by ${instance}`);
      this.#answeredBy.set(question, instance);
      return;
    }
    const wrong = WRONG.exec(line)?.[1];
    if (wrong !== undefined) throw new Error(`${instance} got another answer than its own: ${wrong}`);
    const [, , answered, failed] = ASKED.exec(line) ?? [];
    if (answered === undefined) return;
    const known = this.#counts.get(instance) ?? { answered: 0, failed: 0 };
    // A process that takes the place of another counts from the begin.
    const isNew = Number(answered) < known.answered;
    const key = isNew ? `${instance} before ${this.#counts.size}` : instance;
    if (isNew) this.#counts.set(key, known);
    this.#counts.set(instance, { answered: Number(answered), failed: Number(failed) });
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
