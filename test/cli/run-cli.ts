import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

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

export interface CliOptions {
  env?: Record<string, string>;
  input?: string;
  cwd?: string;
}

/** Starts the compiled command with nothing of Shoal in its environment but what is given. */
export function startCli(words: readonly string[], { env = {}, input, cwd }: CliOptions = {}): RunningCli {
  const { SHOAL_SERVER: _server, SHOAL_TOKEN_FILE: _file, NO_COLOR: _color, ...inherited } = process.env;
  const child = spawn(process.execPath, [MAIN, ...words], {
    env: { ...inherited, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
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

export function runCli(words: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  return startCli(words, options).ended;
}
