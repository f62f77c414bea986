import { execFile } from 'node:child_process';
import { ShoalError } from '../protocol/errors.js';

const OUTPUT_BYTES_MAX = 1024 * 1024;
const MESSAGE_LENGTH_MAX = 500;

/** Runs a system tool without a shell. Answers its stdout; throws `code` with what it said when it fails. */
export function runTool(
  tool: string,
  words: string[],
  timeoutMs: number,
  code: 'SHOAL_E_START' | 'SHOAL_E_HOST',
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tool, words, { timeout: timeoutMs, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.trim().slice(-MESSAGE_LENGTH_MAX) || error.message;
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      const detail = missing ? `${tool} is not installed on this host: apt-get install ${tool}` : `${tool}: ${said}`;
      reject(new ShoalError(missing ? 'SHOAL_E_HOST' : code, detail, { cause: error }));
    });
  });
}
