import t from 'tap';
import { simulate } from './simulate.js';

/** SHOAL_SEEDS=FROM-TO plays others, such as one that has failed. */
const [from = 1, to = 1_000] = (process.env.SHOAL_SEEDS ?? '1-1000').split('-').map(Number);

t.test(`seeds ${from} to ${to}`, async (t) => {
  const broken: string[] = [];
  let terms = 0;
  let refusedTerms = 0;
  for (let seed = from; seed <= to; seed += 1) {
    const history = await simulate(seed);
    terms += history.terms;
    refusedTerms += history.refusedTerms;
    if (history.broken !== null) broken.push(`seed ${seed}: ${history.broken}`);
  }
  t.same(broken, []);
  t.comment(`${terms} terms; ${refusedTerms} messages of deposed leaders were refused by agents`);
});
