import t from 'tap';
import { BUGS } from './planted.js';
import { simulate } from './simulate.js';

/** A planted bug is found within so many seeds. */
const SEEDS_MAX = 2_000;

for (const [name, planted] of Object.entries(BUGS)) {
  t.test(`found: ${name}`, async (t) => {
    let seed = 1;
    while (seed <= SEEDS_MAX && simulate(seed, planted).broken === null) seed += 1;
    t.ok(seed <= SEEDS_MAX, `by seed ${seed}`);
  });
}
