import t from 'tap';
import { type History, type Planted, simulate } from './simulate.js';

const SEEDS = 25;
/** A planted bug is found within so many seeds. */
const SEEDS_PLANTED = 150;

/** The first history that is broken. */
async function firstBroken(planted: Planted, seeds: number): Promise<History | null> {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const history = await simulate(seed, planted);
    if (history.broken !== null) return history;
  }
  return null;
}

t.test(
  'under faults nothing acknowledged is lost, nothing refused is done, one leads, and agents obey no older term',
  async (t) => {
    t.equal(await firstBroken({}, SEEDS), null);
  },
);

t.test('the same seed gives the same history', async (t) => {
  t.same(await simulate(7), await simulate(7));
});

t.test('a store that does not fence its writes is found out', async (t) => {
  const condition = { condition: ({ key }: { key: string }) => key === '/shoal/leader' || key === '/shoal/sequence' };
  t.match(await firstBroken(condition, SEEDS_PLANTED), { broken: String });
});

t.test('an agent that obeys a deposed leader is found out', async (t) => {
  t.match(await firstBroken({ obedient: true }, SEEDS_PLANTED), { broken: /obeyed term \d+ after \d+/ });
});

t.test('clocks that run further apart than leases allow for are found out', async (t) => {
  t.match(await firstBroken({ drift: 0.3 }, SEEDS_PLANTED), { broken: /lead at once/ });
});

t.test('a deposed leader that answers from memory what changes nothing is found out', async (t) => {
  // Or, sooner, by what a leader reads that does not ask at the end whether it still leads.
  const found = /was acknowledged and never so|holds data but no revision/;
  t.match(await firstBroken({ unconfirmed: true }, SEEDS_PLANTED), { broken: found });
});
