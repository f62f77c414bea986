import t from 'tap';
import { builtElsewhere } from '../../../agent/builds/built-elsewhere.js';
import type { Built, Seed } from '../../../protocol/link.js';

const IMAGE = `sha256:${'0'.repeat(64)}`;
const HOSTS: Seed[] = [{ host: 'h2', address: 'h2:7000' }];

/** What is said, asked after asked, and what the hosts give. */
function told(answers: Built[], gives: string | null = IMAGE) {
  const steps: string[] = [];
  const taken: unknown[] = [];
  let slept = 0;
  const result = builtElsewhere({
    ask: async () => {
      const answer = answers.shift();
      if (answer === undefined) throw new Error('asked once more');
      return answer;
    },
    take: async (...wanted) => {
      taken.push(wanted);
      return gives;
    },
    onStep: (step) => steps.push(step),
    sleep: async () => {
      slept += 1;
    },
  });
  return result.then((image) => ({ image, steps, taken, slept }));
}

t.test('what nobody has built, or nobody gives, is this host\u2019s to build', async (t) => {
  t.match(await told([{ hosts: [] }]), { image: null, steps: [], taken: [], slept: 0 });
  t.match(await told([{ hosts: HOSTS, manifest: IMAGE }], null), { image: null, taken: [[IMAGE, HOSTS]] });
});

t.test('a host that builds is waited for, and what it has built is taken', async (t) => {
  const waiting = { hosts: [], builder: 'h2' };
  t.match(await told([waiting, waiting, { hosts: HOSTS, manifest: IMAGE }]), {
    image: IMAGE,
    steps: ['wait for h2, which builds it', 'wait for h2, which builds it', 'take it from h2'],
    slept: 2,
  });
  t.match(await told([waiting, { hosts: [] }]), { image: null, slept: 1 }, 'it could not, or is gone');
});
