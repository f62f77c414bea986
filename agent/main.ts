import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { isIsolated, runIsolated } from './isolate.js';
import { readOptions, USAGE } from './options.js';

async function main(): Promise<number> {
  // Written at once: at the exit of the process nothing waits for a reader of stderr that may be gone.
  const log = pino(
    { name: 'agent', level: process.env.SHOAL_LOG ?? 'info' },
    pino.destination({ dest: 2, sync: true }),
  );
  try {
    const words = process.argv.slice(2);
    const options = readOptions(words);
    if (options === null) {
      process.stdout.write(`${USAGE}\n`);
      return 0;
    }
    if (process.geteuid?.() !== 0)
      throw new ShoalError('SHOAL_E_HOST', 'the agent must run as root: it makes containers');
    if (!isIsolated()) return await runIsolated(fileURLToPath(import.meta.url), words);
    // Not before: the process that waits around the one in the namespace needs none of it.
    const { serve } = await import('./serve.js');
    await serve(options, log);
    return 0;
  } catch (error) {
    const { code, message, exitCode } = toShoalError(error);
    log.fatal({ err: error, code }, message);
    return exitCode;
  }
}

process.exit(await main());
