import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CHECKOUT, type Rack } from '../../scripts/lib/lab/rack.js';
import { onOneMachine, STEP_MS_MAX, startShoal, succeed } from './guest.js';
import type { Asked, LimitsTried } from './limits-peer.js';

/** All of it one after the other. */
const TRIED_MS_MAX = 2 * STEP_MS_MAX;
const PIDS_MAX = 512;
const RESIZES = 300;

t.test('who reaches its limits harms nobody else, on a host with full cgroup v2', (t) =>
  onOneMachine((rack) => tryLimits(t, rack)),
);

async function tryLimits(t: Test, rack: Rack): Promise<void> {
  await startShoal(rack, TRIED_MS_MAX + STEP_MS_MAX);
  const peer = join(CHECKOUT, 'dist/test/lab/limits-peer.js');
  const tried = JSON.parse(await succeed(rack, ['node', peer, '/run/shoal'], TRIED_MS_MAX)) as LimitsTried;
  const { hog, forker, resizes, served } = tried;
  const goesOn = ({ answered, lost, why }: Asked, what: string) => {
    t.ok(answered > 0, `its neighbour answers ${answered} requests ${what}`);
    t.same([lost, why], [0, []], 'and loses none');
  };

  t.match(
    hog.end,
    /^signalled: out of memory: the kernel killed 1 of its processes at memory.max/,
    'who takes memory without end is ended, and why is said',
  );
  // memory.events counts as well whom the kernel kills since the whole machine has no more memory.
  const kills = (await succeed(rack, ['dmesg'])).match(/oom-kill:constraint=.*/g) ?? [];
  const isOwn = (line: string) => /constraint=CONSTRAINT_MEMCG,.*,oom_memcg=\/shoal\/\w+\/lab-hog-\d+,/.test(line);
  t.ok(kills.length > 0);
  t.same(
    kills.filter((line) => !isOwn(line)),
    [],
    'by its own limit alone',
  );
  goesOn(hog, 'meanwhile');

  t.equal(forker.processes, PIDS_MAX, 'who forks without end gets so many processes');
  goesOn(forker, 'meanwhile');

  t.equal(resizes.done, RESIZES);
  t.match(resizes.refused, /^memory stays, since \d+ MiB are needed/);
  goesOn(resizes, `while it is resized ${resizes.done} times`);
  t.same(served, { memoryKills: 0, isSameProcess: true }, 'no size ends a process');
}
