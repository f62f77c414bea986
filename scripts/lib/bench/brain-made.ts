import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { normalFrom, randomFrom } from '../../../coordinator/brain/forecast/random.js';
import type { Random } from '../../../protocol/balancer.js';
import { benchBrainScaling } from './brain-scaling.js';
import type { Row } from './rows.js';

const ROWS = 720;
const SEED = 1;

/** The load in row `i`, from the one before. */
type Formula = (i: number, random: Random, before: number) => number;

/** What no trace of a day shows, and nothing was chosen on. */
const FORMULAS: Readonly<Record<string, Formula>> = {
  constant: () => 100,
  'two-levels': (i) => (Math.floor(i / 120) % 2 === 0 ? 20 : 100),
  ramp: (i) => 5 + (95 * i) / ROWS,
  saw: (i) => 10 + 2 * (i % 45),
  pulses: (i) => (i % 30 < 6 ? 100 : 2),
  growth: (i) => 100 ** (i / ROWS),
  'one-spike': (i, random) => (i >= 500 && i < 503 ? 100 : 5 * (0.9 + 0.2 * random())),
  noise: (_, random) => Math.max(0, 60 * (1 + 0.2 * normalFrom(random))),
  'random-walk': (i, random, before) =>
    i === 0 ? 50 : Math.min(100, Math.max(1, before * (1 + 0.05 * normalFrom(random)))),
  switching: (i, random, before) => (i === 0 ? 5 : random() < 1 / 20 ? 105 - before : before),
  'now-and-then': (i, random) =>
    i === 0 ? 100 : random() < 0.03 ? ([20, 50, 100][Math.floor(3 * random())] as number) : 0,
};

/**
 * The same as brain-scaling on loads made by formulas, so that it needs no file: 12 hours each, of which Shoal learns from the
 * first 6 and is judged by the others.
 */
export async function benchBrainMade(options: { seeds?: number; scale?: number }): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-made-loads-'));
  try {
    for (const [name, formula] of Object.entries(FORMULAS))
      await writeFile(join(folder, `${name}.csv`), rowsOf(formula));
    return await benchBrainScaling(options, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `time,value`, a minute apart; the same each time. */
function rowsOf(formula: Formula): string {
  const random = randomFrom(SEED);
  let load = 0;
  const rows = Array.from({ length: ROWS }, (_, i) => {
    load = formula(i, random, load);
    return `${60 * i},${load}\n`;
  });
  return rows.join('');
}
