import t from 'tap';
import { type PlantedInHosts, simulateSingletons } from './singletons.js';

/** SHOAL_SEEDS=FROM-TO plays others, such as one that has failed. */
const [from = 1, to = 15] = (process.env.SHOAL_SEEDS ?? '1-15').split('-').map(Number);
/** A planted bug is found within so many seeds. */
const SEEDS_PLANTED = 20;

async function firstBroken(planted: PlantedInHosts): Promise<string | null> {
  for (let seed = 1; seed <= SEEDS_PLANTED; seed += 1) {
    const { broken } = await simulateSingletons(seed, planted);
    if (broken !== null) return broken;
  }
  return null;
}

t.test(`seeds ${from} to ${to}: two singletons never run at once, and one does in the end`, async (t) => {
  const broken: string[] = [];
  let started = 0;
  let leasesOver = 0;
  for (let seed = from; seed <= to; seed += 1) {
    const history = await simulateSingletons(seed);
    started += history.started;
    leasesOver += history.leasesOver;
    if (history.broken !== null) broken.push(`seed ${seed}: ${history.broken}`);
  }
  t.same(broken, []);
  t.ok(started > 2 * (to - from), 'they moved');
  t.ok(leasesOver > 0, 'leases ended some');
  t.comment(`${started} instances ran one after another; ${leasesOver} were ended by the end of their lease`);
});

t.test('the same seed gives the same history', async (t) => {
  t.same(await simulateSingletons(7), await simulateSingletons(7));
});

const BUGS: Record<string, PlantedInHosts> = {
  'coordinators that do not wait for the end of a lease are found out': { impatient: true },
  'a lease that ends nothing is found out': { immortal: true },
};
for (const [name, planted] of Object.entries(BUGS)) {
  t.test(name, async (t) => {
    t.match(await firstBroken(planted), /run at once/);
  });
}
