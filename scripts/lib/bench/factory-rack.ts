import { bootRack, CHECKOUT } from '../lab/rack.js';
import type { Row } from './rows.js';

/** Of each kind; emulated, each takes seconds. */
export const STARTS_RACK = 5;
/** What is written there, an image in four stores among it, is kept in it too. */
const MEMORY_MIB = 4_096;
const BENCH_MS_MAX = 3_600_000;

/**
 * The benchmark `factory` in a machine of the virtual rack: a stock kernel where all controllers are in force, so that sizes
 * are limits. Emulated, so ratios only.
 */
export async function benchFactoryRack(starts: number): Promise<Row[]> {
  const rack = await bootRack({ memoryMib: MEMORY_MIB });
  try {
    const words = ['node', 'dist/scripts/bench.js', 'factory', '--quick', '--json', '--count', String(starts)];
    const { code, stdout, stderr } = await rack.run('h1', words, { timeMs: BENCH_MS_MAX, cwd: CHECKOUT });
    if (code !== 0) throw new Error(`the benchmark ended with ${code}: ${stderr}`);
    return stdout.trim().split('\n').map(rowOf);
  } finally {
    await rack.stop();
  }
}

/** In JSON what is no number is null. */
function rowOf(line: string): Row {
  const { bench: _, machine: __, peerValue, ratio, ...row } = JSON.parse(line) as Row & Record<string, unknown>;
  return { ...row, peerValue: peerValue ?? Number.NaN, ratio: ratio ?? Number.NaN };
}
