import { type ChildProcess, spawn } from 'node:child_process';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Io } from '../../cli/io.js';
import { choosePaint } from '../../cli/render/paint.js';
import { runCommand } from '../../cli/run.js';

const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));

export interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

export interface RunningCli {
  child: ChildProcess;
  /** Everything printed so far. */
  out: () => string;
  err: () => string;
  /** Resolves when standard output (or error) holds the text; rejects when the command ends without it. */
  printed: (text: string, where?: 'out' | 'err') => Promise<void>;
  ended: Promise<Outcome>;
}

/** For commands that pass no bytes on. */
export const NO_STREAMS: Io['streams'] = {
  input: Readable.from([]),
  output: collect(() => undefined),
  errors: collect(() => undefined),
};

export interface CliOptions {
  env?: Record<string, string>;
  input?: string;
  cwd?: string;
}

/** The environment of this process, without what the command would go by. */
function inherited(): NodeJS.ProcessEnv {
  const { SHOAL_SERVER: _server, SHOAL_TOKEN_FILE: _file, NO_COLOR: _color, ...rest } = process.env;
  return rest;
}

/** Starts the compiled command with nothing of Shoal in its environment but what is given. */
export function startCli(words: readonly string[], { env = {}, input, cwd }: CliOptions = {}): RunningCli {
  const child = spawn(process.execPath, [MAIN, ...words], {
    env: { ...inherited(), ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
  // It need not read all of it.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  const text = { out: '', err: '' };
  const waiting = new Set<() => void>();
  for (const [name, stream] of [['out', child.stdout] as const, ['err', child.stderr] as const]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk;
      for (const wake of waiting) wake();
    });
  }
  const ended = new Promise<Outcome>((resolve) => {
    child.once('close', (code) => resolve({ code, ...text }));
  });
  const printed = (wanted: string, where: 'out' | 'err' = 'out'): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!text[where].includes(wanted)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      ended.then(() => reject(new Error(`ended without "${wanted}":\n${text.out}\n${text.err}`)), reject);
      look();
    });
  return { child, out: () => text.out, err: () => text.err, printed, ended };
}

function collect(take: (text: string) => void): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(chunk.toString('utf8'));
      done();
    },
  });
}

/**
 * Runs the command to its end: within this process, without what takes most of its time, the start of another one. Not
 * two at once. With an input it is a process of its own.
 */
export async function runCli(words: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  if (options.input !== undefined) return startCli(words, options).ended;
  const { env = {}, cwd } = options;
  const text = { out: '', err: '' };
  const all = { ...inherited(), ...env };
  const io: Io = {
    out: (more) => {
      text.out += more;
    },
    err: (more) => {
      text.err += more;
    },
    env: all,
    terminal: false,
    paint: choosePaint(false, all),
    size: () => ({ width: 120, height: 50 }),
    streams: {
      input: Readable.from([]),
      output: collect((more) => {
        text.out += more;
      }),
      errors: collect((more) => {
        text.err += more;
      }),
    },
  };
  const before = process.cwd();
  if (cwd !== undefined) process.chdir(cwd);
  try {
    const code = await runCommand(words, io, { signal: new AbortController().signal, exitCode: () => 1 });
    return { code, ...text };
  } finally {
    process.chdir(before);
  }
}
