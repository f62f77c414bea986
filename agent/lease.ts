import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { LIMITS } from '../protocol/limits.js';

/** So that what an earlier life of the machine wrote is not taken for a lease. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/**
 * Until when this host's singletons may run. The agent asks with its reports, the leader answers, and the lease counts from
 * when it was asked, by a clock that nobody sets. The shims of singletons read the file and end them when it is over, also
 * while the agent is killed or stopped.
 */
export class SingletonLease {
  readonly #file: string;
  readonly #bootMs: () => number;
  #untilMs: number;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, bootMs: () => number, untilMs: number) {
    this.#file = file;
    this.#bootMs = bootMs;
    this.#untilMs = untilMs;
  }

  /** Goes on with what an agent before this one wrote since the machine was booted. `bootMs`: as NativeHost says. */
  static async open(file: string, bootMs: () => number): Promise<SingletonLease> {
    const boot = (await readFile(BOOT_ID, 'utf8')).trim();
    const [known, written] = await Promise.all([readOr(`${file}.boot`), readOr(file)]);
    const untilMs = Number(written);
    if (known === boot && Number.isSafeInteger(untilMs)) return new SingletonLease(file, bootMs, untilMs);
    await rm(file, { force: true });
    await writeFile(`${file}.boot`, boot);
    return new SingletonLease(file, bootMs, 0);
  }

  /** What to ask with. */
  now(): number {
    return this.#bootMs();
  }

  get holds(): boolean {
    return this.#bootMs() < this.#untilMs;
  }

  /** The leader has answered what was asked at that moment. Resolves when shims see it; one that is older changes nothing. */
  prolong(askedMs: number): Promise<void> {
    const write = async () => {
      const untilMs = askedMs + LIMITS.singletonLeaseMs;
      if (untilMs <= this.#untilMs || askedMs > this.#bootMs()) return;
      // Not made durable: it is of no use after the machine has gone down.
      await writeFile(`${this.#file}.tmp`, `${untilMs}\n`);
      await rename(`${this.#file}.tmp`, this.#file);
      this.#untilMs = untilMs;
    };
    const written = this.#writing.then(write);
    this.#writing = written.catch(() => undefined);
    return written;
  }
}

async function readOr(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
