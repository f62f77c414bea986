import t from 'tap';
import { BUGS } from './planted.js';
import { simulate } from './simulate.js';

const SEEDS = 12;
/** Bugs that show in nearly every history; the others are looked for in the slow tier. */
const PLAIN = ['a call that comes again is done again', 'a pass leaves out the last writes'];

t.test(
  'under faults no acknowledged write is lost, none is done twice, no read goes back, and it comes to rest',
  async (t) => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { broken, answered } = simulate(seed);
      t.equal(broken, null, `seed ${seed}`);
      t.ok(answered > 50, `seed ${seed}: ${answered} calls were answered`);
    }
  },
);

t.test('the same seed gives the same history', async (t) => {
  t.same(simulate(7), simulate(7));
});

for (const name of PLAIN) {
  t.test(`found: ${name}`, async (t) => {
    const seeds = Array.from({ length: SEEDS }, (_, i) => i + 1);
    t.ok(seeds.some((seed) => simulate(seed, BUGS[name]).broken !== null));
  });
}
