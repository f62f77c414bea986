import { type ExecFileOptions, execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LabError } from './errors.js';

const run = promisify(execFile);
const TOOL_MS_MAX = 60_000;

/** Runs a program of this host and answers what it printed; a failure says what it printed instead. */
export async function tool(name: string, args: string[], options: ExecFileOptions = {}): Promise<string> {
  try {
    const { stdout } = await run(name, args, { timeout: TOOL_MS_MAX, ...options, encoding: 'utf8' });
    return stdout;
  } catch (error) {
    const { code, stderr = '', message } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') throw new LabError('boot', `${name} is not installed: run ./scripts/setup`);
    throw new LabError('boot', `${name} ${args.join(' ')}: ${stderr.trim() || message}`);
  }
}
