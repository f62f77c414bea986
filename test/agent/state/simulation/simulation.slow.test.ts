import t from 'tap';
import { BUGS } from './planted.js';
import { simulate } from './simulate.js';

/** SHOAL_SEEDS=FROM-TO plays others, such as one that has failed; SHOAL_SEEDS=N plays 1 to N. */
const given = (process.env.SHOAL_SEEDS ?? '1500').split('-').map(Number);
const [from = 1, to = 1] = given.length > 1 ? given : [1, given[0]];
/** A planted bug is found within so many seeds. */
const SEEDS_PLANTED = 400;

t.test(`seeds ${from} to ${to}`, async (t) => {
  const broken: string[] = [];
  const sums = { answered: 0, open: 0, owners: 0, records: 0, reboots: 0 };
  for (let seed = from; seed <= to; seed += 1) {
    const history = simulate(seed);
    if (history.broken !== null) broken.push(`seed ${seed}: ${history.broken}`);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += history[key];
  }
  t.same(broken, []);
  const { answered, open, owners, records, reboots } = sums;
  t.comment(
    `${answered} calls answered, ${open} open; ${owners} ownerships served, ${records} epochs, ${reboots} memories lost`,
  );
});

for (const [name, planted] of Object.entries(BUGS)) {
  t.test(`found: ${name}`, async (t) => {
    let seed = 1;
    while (seed <= SEEDS_PLANTED && simulate(seed, planted).broken === null) seed += 1;
    t.ok(seed <= SEEDS_PLANTED, `by seed ${seed}`);
  });
}
