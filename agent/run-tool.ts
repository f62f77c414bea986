import { execFile } from 'node:child_process';
import { ShoalError } from '../protocol/errors.js';

const OUTPUT_BYTES_MAX = 1024 * 1024;
const MESSAGE_LENGTH_MAX = 500;
/** What setpriv(1) ends with when there is no such tool. */
const NOT_FOUND = 127;

export interface ToolOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** What people call it, where that is not its file. */
  label?: string;
  /** Kill the tool when this process ends: what it does half-way must not go on beside the next agent. */
  dieWithUs?: boolean;
  /** Kills the tool when it aborts. */
  signal?: AbortSignal;
}

/** Runs a system tool without a shell. Answers its stdout; throws `code` with what it said when it fails, and the signal's reason when that ended it. */
export function runTool(
  tool: string,
  words: string[],
  timeoutMs: number,
  code: 'SHOAL_E_START' | 'SHOAL_E_HOST',
  { dieWithUs = false, label = tool, ...options }: ToolOptions = {},
): Promise<string> {
  const [file, ...before] = dieWithUs ? ['setpriv', '--pdeathsig', 'KILL', tool] : [tool];
  const limits = { timeout: timeoutMs, maxBuffer: OUTPUT_BYTES_MAX, killSignal: 'SIGKILL' as const, ...options };
  return new Promise((resolve, reject) => {
    execFile(file, [...before, ...words], limits, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (options.signal?.aborted) return reject(options.signal.reason as Error);
      const said = stderr.trim().slice(-MESSAGE_LENGTH_MAX) || error.message;
      const ended = error.code as string | number | null;
      const missing = ended === 'ENOENT' || (dieWithUs && ended === NOT_FOUND);
      const detail = missing ? `${tool} is not installed on this host: apt-get install ${tool}` : `${label}: ${said}`;
      reject(new ShoalError(missing ? 'SHOAL_E_HOST' : code, detail, { cause: error }));
    });
  });
}
