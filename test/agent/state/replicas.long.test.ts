import { fileURLToPath } from 'node:url';
import t from 'tap';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { soakState } from '../../../scripts/lib/state/state-soak.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));

t.test('with a replica a host may burn whose copies lag, and what was acknowledged is there', async (t) => {
  const done = await soakState({
    dist: DIST,
    hosts: 2,
    replicas: 1,
    shards: 8,
    countMax: 2,
    handovers: 0,
    random: randomFrom(3),
    said: (line) => t.comment(line),
    faults: ['behind'],
  });
  t.ok(done.answered > 100, `${done.answered} calls were answered, ${done.failed} failed`);
});
