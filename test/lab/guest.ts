import { join } from 'node:path';
import { bootRack, CHECKOUT, type Rack } from '../../scripts/lib/lab/rack.js';

/** Emulated on a busy machine all is slow; no test waits so long when all is well. */
export const STEP_MS_MAX = 180_000;
const LOOK_MS_MAX = 60_000;
const RACKS_MAX = 2;
const WAITS = 'ps -eo pid,stat,wchan:32,args; for each in $(pgrep node); do cat /proc/$each/task/*/stack; done; dmesg';

/** The words that run the command `shoal` of this checkout. */
export function shoal(...words: string[]): string[] {
  return ['node', join(CHECKOUT, 'dist/cli/main.js'), ...words];
}

/** A manifest of one instance, lab-busy-0, that always wants more CPU than it may have. */
export function busyApp(cores: number, mebibytes: number): string {
  return `
app: lab
components:
  busy:
    rootfs: host
    directory: ${CHECKOUT}/examples
    command: [sh, -c, 'while :; do :; done']
    count: 1
    size: { cpu: ${cores}, memory: ${mebibytes}Mi }
`;
}

/**
 * Does the work on a rack of one machine, and on a fresh one when the first froze: emulated, a machine has stopped for
 * good in the middle of it, with no process of it at fault. Any other failure is thrown, with what each process of the
 * machine waits in.
 */
export async function onOneMachine(work: (rack: Rack) => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const rack = await bootRack();
    try {
      return await work(rack);
    } catch (error) {
      const waits = await succeed(rack, ['sh', '-c', WAITS], LOOK_MS_MAX).catch((reason: Error) => reason);
      if (typeof waits === 'string') throw new Error(`${(error as Error).message}\n${waits}`);
      if (tries === RACKS_MAX) throw new Error(`${(error as Error).message}; then ${waits.message}`);
    } finally {
      await rack.stop();
    }
  }
}

/** Runs a command in h1 that must succeed; answers its standard output. */
export async function succeed(rack: Rack, argv: string[], timeMs = STEP_MS_MAX): Promise<string> {
  const { code, stdout, stderr } = await rack.run('h1', argv, { timeMs });
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** Starts Shoal in h1 for so long; resolves when it says that it is up. Its folder for what runs is /run/shoal. */
export async function startShoal(rack: Rack, timeMs = 2 * STEP_MS_MAX) {
  let isUp = (): void => undefined;
  const said = new Promise<void>((resolve) => {
    isUp = resolve;
  });
  const up = rack.start('h1', shoal('up', '--down', '--data', '/run/data'), {
    timeMs,
    onOutput: (_stream, text) => text.includes('shoal is up at') && isUp(),
  });
  const ended = up.result.then(({ stderr }) => {
    throw new Error(`shoal up ended: ${stderr}`);
  });
  await Promise.race([said, ended]);
  ended.catch(() => undefined);
  return up;
}
