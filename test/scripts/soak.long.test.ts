import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { randomFrom } from '../../coordinator/brain/forecast/random.js';
import { soak } from '../../scripts/lib/soak/soak.js';

t.test(
  'whatever is killed in the middle of reshaping, the host becomes what was asked for',
  { timeout: 240_000 },
  async (t) => {
    const dist = resolve(fileURLToPath(import.meta.url), '../../..');
    const seed = Date.now() % 1_000_000;
    t.comment(`seed ${seed}`);
    const said = (line: string) => t.comment(line);
    // Beside a test that compiles instances start slowly; how fast it is without, `scripts/soak` says.
    const done = await soak({ dist, kills: 15, random: randomFrom(seed), convergeMs: 60_000, said });
    t.equal(done.length, 15);
  },
);
