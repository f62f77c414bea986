import t from 'tap';
import { simulate } from './simulate.js';

/** SHOAL_SEEDS=FROM-TO plays others, such as one that has failed; SHOAL_SEEDS=N plays 1 to N. */
const given = (process.env.SHOAL_SEEDS ?? '1000').split('-').map(Number);
const [from = 1, to = 1] = given.length > 1 ? given : [1, given[0]];

t.test(`seeds ${from} to ${to}`, async (t) => {
  const broken: string[] = [];
  const sums = { answered: 0, open: 0, owners: 0, records: 0, reboots: 0, near: 0, restores: 0 };
  for (let seed = from; seed <= to; seed += 1) {
    const history = simulate(seed);
    if (history.broken !== null) broken.push(`seed ${seed}: ${history.broken}`);
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += history[key];
  }
  t.same(broken, []);
  const { answered, open, owners, records, reboots, near } = sums;
  t.ok(near > 0, 'copies were read');
  t.ok(sums.restores > 0, 'shards began with snapshots');
  t.comment(
    `${answered} calls answered, ${open} open, ${near} reads of copies; ${owners} ownerships served, ${records} epochs, ${reboots} memories lost, ${sums.restores} snapshots begun with`,
  );
});
