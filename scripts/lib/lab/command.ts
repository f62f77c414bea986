import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from './errors.js';
import type { Machine } from './machine.js';
import { type Output, OutputFollower, type Stream } from './output.js';
import { quote } from './shell.js';

/** For commands that say no limit of their own. */
const RUN_MS_MAX = 300_000;
/** What a killed command may take to be gone, emulated. */
const KILL_MS_MAX = 20_000;
const OUTPUT_CHARS_SHOWN = 2_000;

export interface RunOptions {
  /** The command is killed, and the run rejected with a LabError of kind `time`, after so many milliseconds. */
  timeMs?: number;
  env?: Record<string, string>;
  /** The folder to run in; the checkout unless said. */
  cwd?: string;
  /** Is given output as it comes. */
  onOutput?: (stream: Stream, text: string) => void;
}

export interface Result {
  /** Exit code; 128 and its number for a signal. */
  code: number;
  stdout: string;
  stderr: string;
}

interface Where {
  machine: Machine;
  id: string;
  /** Of its own in the rack's folder: for its script and its output. */
  folder: string;
}

/** A command that was started in a machine. Its output is in files of the rack's folder, and in the result. */
export class Command {
  /** Rejected with a LabError when the time is over or the machine ends. */
  readonly result: Promise<Result>;
  readonly #pid: Promise<string>;

  constructor(
    private readonly where: Where,
    private readonly argv: readonly string[],
    private readonly options: RunOptions & { cwd: string },
  ) {
    this.#pid = where.machine.said('started', where.id);
    this.result = this.#run();
    // Who started it may look at the result much later, or never.
    for (const promise of [this.#pid, this.result]) promise.catch(() => undefined);
  }

  /** Sends a signal to all processes of the command's session. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.where.machine.say('kill', await this.#pid, signal.slice('SIG'.length));
  }

  async #run(): Promise<Result> {
    const { machine, id, folder } = this.where;
    const { timeMs = RUN_MS_MAX, onOutput = () => undefined } = this.options;
    await mkdir(folder);
    await writeFile(join(folder, 'command'), this.#script());
    const follower = new OutputFollower(folder, onOutput);
    try {
      const done = machine.said('done', id);
      machine.say('run', id);
      const code = await within(timeMs, done);
      if (code !== undefined) {
        await writeFile(join(folder, 'code'), `${code}\n`);
        return { code: Number(code), ...(await follower.end()) };
      }
      await within(KILL_MS_MAX, Promise.all([this.kill('SIGKILL'), done]));
      throw this.#late(timeMs, await follower.end());
    } finally {
      await follower.end();
    }
  }

  #script(): string {
    const { cwd, env = {} } = this.options;
    const exports = Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}`);
    const lines = [`echo "started ${this.where.id} $$" >/run/lab-say`, `cd ${quote(cwd)} || exit 126`, ...exports];
    return `${[...lines, `exec ${this.argv.map(quote).join(' ')}`].join('\n')}\n`;
  }

  #late(timeMs: number, output: Output): LabError {
    const said = `${output.stdout}${output.stderr}`.trim().slice(-OUTPUT_CHARS_SHOWN);
    const what = `${this.where.machine.name}: ${this.argv.join(' ')} did not end within ${timeMs / 1000} s and was killed`;
    return new LabError('time', `${what}; it said: ${said === '' ? '(nothing)' : `\n${said}`}`);
  }
}

/** What the promise comes to, or undefined when that takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
