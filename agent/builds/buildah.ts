import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';

export interface BuildOrder {
  /** Folder that is built. */
  context: string;
  /** Path of the Containerfile. */
  file: string;
  /** Folders of buildah's own, kept from one build to the next: what it has made of each step. */
  cache: string;
  /** Folders of the host that steps see, read-only. */
  binds: readonly { source: string; target: string }[];
  /** Folders that `COPY --from` may name. */
  contexts: Readonly<Record<string, string>>;
  /** An empty folder that steps see as /tmp. */
  scratch: string;
  /** Where the image goes: the path of an OCI layout. */
  layout: string;
  /** Path of the log, in the form of an instance's. */
  log: string;
  /** cgroup.procs of the cgroup whose limits hold. */
  cgroupProcs: string;
  /** Told what is done now, such as `RUN npm ci`. */
  onStep(step: string): void;
}

/** Said of a failed step: the last lines before buildah's own. */
const SAID_LINES = 4;
const STEP = /^(?:\[\d+\/\d+\] )?STEP (\d+\/\d+): (.*)$/;
/** In a PID namespace of its own: when this process, or the agent above it, ends, so does all that the steps have started. */
const WRAP = 'echo 0 > "$1" && shift && exec unshare --mount --pid --fork --kill-child --mount-proc "$@"';

/**
 * Builds the image. Rejects with SHOAL_E_START naming the step that failed and what it said; the log has all of it. Ends when the
 * signal aborts, and rejects with its reason.
 */
export async function runBuildah(order: BuildOrder, signal: AbortSignal): Promise<void> {
  const store = ['--root', `${order.cache}/root`, '--runroot', `${order.cache}/run`];
  const name = 'localhost/build:latest';
  const binds = order.binds.flatMap(({ source, target }) => ['--volume', `${source}:${target}:ro`]);
  const contexts = Object.entries(order.contexts).flatMap(([name, path]) => ['--build-context', `${name}=${path}`]);
  const build = [
    ...['buildah', ...store, 'build', '--isolation', 'chroot', '--cap-drop', 'all', '--layers', '--timestamp', '0'],
    ...['--format', 'oci', '--volume', `${order.scratch}:/tmp`, ...binds, ...contexts],
    ...['--tag', name, '--file', order.file, order.context],
  ];
  const push = ['buildah', ...store, 'push', '--quiet', name, `oci:${order.layout}:image`];
  const log = new BuildLog(order);
  try {
    await runLogged(order, build, log, signal);
    await runLogged(order, push, log, signal);
  } finally {
    await log.close();
  }
}

/** The log of one build, and what it has come to. */
class BuildLog {
  readonly #file;
  readonly #said: string[] = [];
  readonly #order: BuildOrder;
  #bytes = 0;
  step = 'start';

  constructor(order: BuildOrder) {
    this.#order = order;
    this.#file = createWriteStream(order.log, { flags: 'a', mode: 0o600 });
    // Told by close(); a full disk must not end the agent.
    this.#file.on('error', () => undefined);
  }

  take(stream: 'stdout' | 'stderr', line: string): void {
    const step = STEP.exec(line);
    if (step !== null) {
      this.step = `${step[1]} ${step[2]}`;
      this.#said.length = 0;
      this.#order.onStep(this.step);
    } else if (line.trim() !== '') {
      this.#said.push(line.trim());
      if (this.#said.length > SAID_LINES + 1) this.#said.shift();
    }
    const text = `${new Date().toISOString()} ${stream} ${line}\n`;
    this.#bytes += text.length;
    if (this.#bytes <= LIMITS.buildLogBytesMax) this.#file.write(text);
  }

  /** Without what buildah itself says of the end of a step. */
  get said(): string {
    const own = /^(Error: building at STEP|subprocess exited with status|exit status|process exited)/;
    const lines = this.#said.filter((line) => !own.test(line)).slice(-SAID_LINES);
    return lines.join(' | ') || (this.#said.at(-1) ?? 'it said nothing');
  }

  async close(): Promise<void> {
    this.#file.end();
    await finished(this.#file);
  }
}

async function runLogged(order: BuildOrder, words: string[], log: BuildLog, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const wrapped = ['--pdeathsig', 'KILL', 'sh', '-c', WRAP, 'sh', order.cgroupProcs, ...words];
  const env = { PATH: process.env.PATH, HOME: order.scratch, TMPDIR: order.cache, LANG: 'C.UTF-8' };
  const child: ChildProcess = spawn('setpriv', wrapped, { stdio: ['ignore', 'pipe', 'pipe'], env, cwd: '/' });
  const timeout = setTimeout(() => child.kill('SIGKILL'), LIMITS.buildMsMax);
  const stop = () => child.kill('SIGKILL');
  signal.addEventListener('abort', stop, { once: true });
  const ended = new Promise<{ code: number | null; error?: Error }>((resolve) => {
    child.once('error', (error) => resolve({ code: null, error }));
    child.once('close', (code) => resolve({ code }));
  });
  createInterface({ input: child.stdout as Readable }).on('line', (line) => log.take('stdout', line));
  createInterface({ input: child.stderr as Readable }).on('line', (line) => log.take('stderr', line));
  const { code, error } = await ended;
  clearTimeout(timeout);
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (code === 0) return;
  const late = `no end within ${LIMITS.buildMsMax / 60_000} min`;
  const why = error?.message ?? (code === null ? late : log.said);
  if (code === 127 || /No such file.*buildah|buildah.*not found/.test(why)) {
    throw new ShoalError('SHOAL_E_HOST', 'buildah is not installed on this host: apt-get install buildah');
  }
  throw new ShoalError('SHOAL_E_START', `step ${log.step}: ${why}`);
}
