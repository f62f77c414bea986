import { join } from 'node:path';
import { CHECKOUT, type Rack } from '../../scripts/lib/lab/rack.js';

/** Emulated on a busy machine all is slow; no test waits so long when all is well. */
export const STEP_MS_MAX = 180_000;

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

/** Runs a command in h1 that must succeed; answers its standard output. */
export async function succeed(rack: Rack, argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await rack.run('h1', argv, { timeMs: STEP_MS_MAX });
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}
