import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const COMPILE_MS_MAX = 60_000;

/** Clocks on the wall that can be set, each for some processes: see clock-shift.c. */
export class ClockShift {
  private constructor(
    private readonly library: string,
    private readonly folder: string,
  ) {}

  /** Compiles what is preloaded into the folder. `dist`: folder of compiled code, beside which the sources are. */
  static async make(dist: string, folder: string): Promise<ClockShift> {
    const library = join(folder, 'clock-shift.so');
    const source = join(dist, '../scripts/lib/soak/clock-shift.c');
    const words = ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', library, source];
    await promisify(execFile)('cc', words, { timeout: COMPILE_MS_MAX });
    return new ClockShift(library, folder);
  }

  /** For the environment of processes that go by the clock of that name, which is right until it is set. */
  async environment(clock: string): Promise<Record<string, string>> {
    await this.set(clock, 0);
    return { LD_PRELOAD: this.library, SHIFT_CLOCK_FILE: this.#file(clock) };
  }

  /** So many ms ahead of the true one; negative: behind. */
  async set(clock: string, aheadMs: number): Promise<void> {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(aheadMs)) * 1_000_000n);
    // In place and at once: processes have the file mapped.
    const file = await open(this.#file(clock), 'a+').then(async (made) => {
      await made.close();
      return open(this.#file(clock), 'r+');
    });
    try {
      await file.write(bytes, 0, bytes.length, 0);
    } finally {
      await file.close();
    }
  }

  #file(clock: string): string {
    return join(this.folder, `${clock}.clock`);
  }
}
