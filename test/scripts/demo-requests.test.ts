import fc from 'fast-check';
import t from 'tap';
import { DemoRequests } from '../../scripts/lib/soak/demo/requests.js';

const ok = (body: unknown) => ({ status: 200, body: JSON.stringify(body) });
/** Chance from a list of numbers, again from the begin at its end. */
function chanceOf(numbers: readonly number[]): () => number {
  let at = 0;
  return () => numbers[at++ % numbers.length] as number;
}

t.test('no two requests are the same, and only what was added is searched', async () => {
  const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(share, { minLength: 1 }),
      fc.array(fc.boolean(), { minLength: 50, maxLength: 400 }),
      (chance, fates) => {
        const requests = new DemoRequests('c', chanceOf(chance));
        const seen = new Set<string>();
        const added = new Set<string>();
        let answered = 0;
        for (const isAnswered of fates) {
          const { request, end } = requests.next();
          if (seen.has(request.path)) return false;
          seen.add(request.path);
          const document = /^\/search\?q=(\w+)\+w\d$/.exec(request.path)?.[1];
          if (request.method === 'GET' && (document === undefined || !added.has(document))) return false;
          if (request.method === 'PUT' && isAnswered) added.add(request.path.slice('/documents/'.length));
          if (isAnswered) answered += 1;
          end(isAnswered ? ok(request.method === 'PUT' ? { added: true } : { documents: 1 }) : null);
        }
        const { counts } = requests;
        return counts.answered === answered && counts.failed === fates.length - answered && counts.missing === 0;
      },
    ),
  );
});

t.test('what an answer says is told apart: missing, failed, wrong', async (t) => {
  const requests = new DemoRequests('c', () => 0);
  requests.next().end(ok({ added: true }));
  for (const answer of [ok({ documents: 0 }), { status: 503, body: '{}' }, ok({ documents: 2 })])
    requests.next().end(answer);
  t.match(requests.counts, { answered: 1, failed: 1, missing: 1 });
  t.match(requests.counts.wrong, [/^GET \/search\?q=cx1\+w2: \{"documents":2\}$/]);
  requests.next().end({ status: 404, body: '{}' });
  t.equal(requests.counts.wrong.length, 2);
});
