import { fileURLToPath } from 'node:url';
import t from 'tap';
import { randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { soakState } from '../../../scripts/lib/state/state-soak.js';

const DIST = fileURLToPath(new URL('../../..', import.meta.url));

t.test('killed while state moves between hosts, nothing acknowledged is lost or done twice', async (t) => {
  const done = await soakState({
    dist: DIST,
    hosts: 2,
    replicas: 0,
    shards: 8,
    countMax: 3,
    handovers: 0,
    random: randomFrom(7),
    said: (line) => t.comment(line),
    faults: ['instance', 'coordinator', 'agent'],
  });
  t.ok(done.answered > 100, `${done.answered} calls were answered, ${done.failed} failed`);
});
