import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { LIMITS } from '../../protocol/limits.js';
import { linesOf } from '../lines.js';

/** util-linux, essential on Debian: lets the kernel stop the child when we are killed and cannot. */
const SETPRIV = '/usr/bin/setpriv';

/** After this a child that was asked to stop is killed: longer than an agent needs to drain and stop its instances. */
const STOP_MS_MAX = LIMITS.drainMsMax + LIMITS.stopMsMax + LIMITS.handoverMsMax + 5_000;

export interface Program {
  name: string;
  /** Compiled JavaScript file, or what is found by `program`. */
  script?: string;
  /** A program of the host, by its name. */
  program?: string;
  args: readonly string[];
}

export interface Listener {
  onLine: (name: string, line: string) => void;
  /** A child ended without being asked to. `restartMs`: it is started again after that time. */
  onDied: (name: string, how: string, restartMs: number) => void;
  /** Whether this exit code makes another try pointless. Then `ended` resolves with it. */
  isFinal: (code: number) => boolean;
}

/** Keeps one child running: started again with growing pauses when it dies, until stopped. */
export class Supervisor {
  #child: ChildProcess | null = null;
  readonly #stopping = new AbortController();
  readonly #running: Promise<number | null>;

  constructor(
    private readonly program: Program,
    private readonly listener: Listener,
    private readonly stopMsMax = STOP_MS_MAX,
  ) {
    this.#running = this.#run();
  }

  /** Resolves with the exit code that was final, or with null after stop(). */
  get ended(): Promise<number | null> {
    return this.#running;
  }

  /** Asks the child to stop, kills it when it takes too long, and waits until it is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const child = this.#child;
    child?.kill('SIGTERM');
    const timer = setTimeout(() => killGroup(child), this.stopMsMax);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<number | null> {
    let restartMs: number = LIMITS.restartBackoffMsMin;
    while (!this.#stopping.signal.aborted) {
      const startedMs = performance.now();
      const { code, how } = await this.#once();
      if (this.#stopping.signal.aborted) break;
      if (code !== null && this.listener.isFinal(code)) return code;
      if (performance.now() - startedMs > LIMITS.restartBackoffResetMs) restartMs = LIMITS.restartBackoffMsMin;
      this.listener.onDied(this.program.name, how, restartMs);
      await delay(restartMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      restartMs = Math.min(restartMs * 2, LIMITS.restartBackoffMsMax);
    }
    return null;
  }

  async #once(): Promise<{ code: number | null; how: string }> {
    const { script, program, args, name } = this.program;
    const command = program === undefined ? [process.execPath, script ?? '', ...args] : [program, ...args];
    if (existsSync(SETPRIV)) command.unshift(SETPRIV, '--pdeathsig', 'TERM', '--');
    const [file = '', ...words] = command;
    // In a session of its own, so that Ctrl-C comes to us alone and each child is asked once, in order.
    const child = spawn(file, words, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const ended = new Promise<{ code: number | null; how: string }>((resolve) => {
      child.once('error', (error) => resolve({ code: null, how: `could not be started: ${error.message}` }));
      child.once('exit', (code, signal) => resolve({ code, how: signal === null ? `exit code ${code}` : signal }));
    });
    const read = async (stream: NodeJS.ReadableStream): Promise<void> => {
      stream.setEncoding('utf8');
      for await (const line of linesOf(stream as AsyncIterable<string>)) this.listener.onLine(name, line);
    };
    // What the child leaves behind may hold its pipes open: its end is what counts, not theirs.
    const reading = Promise.allSettled([read(child.stdout), read(child.stderr)]);
    const result = await ended;
    await Promise.race([reading, delay(LIMITS.restartBackoffMsMin, undefined, { ref: false })]);
    this.#child = null;
    return result;
  }
}

function killGroup(child: ChildProcess | null): void {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    // Its process group: what it runs as helpers goes with it, instances are in sessions of their own and stay.
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
