import { pino } from 'pino';
import t from 'tap';
import { InstanceWatches } from '../../agent/instance-watches.js';
import type { Profilers } from '../../agent/profilers.js';

const OWNER = { app: 'a', component: 'c' };

/** Watches so many at once. */
class Bounded {
  readonly watched = new Set<string>();
  tries = 0;
  constructor(private places: number) {}
  watch(cgroup: string): void {
    this.tries += 1;
    if (this.watched.size >= this.places) throw new Error('E2BIG');
    this.watched.add(cgroup);
  }
  unwatch(cgroup: string): void {
    this.watched.delete(cgroup);
  }
}

t.test('what a profiler has no place for is watched once there is room, and is no matter to the others', async (t) => {
  const [cpu, activity, recorder] = [new Bounded(9), new Bounded(2), new Bounded(9)];
  const watchers = { cpu, activity, recorder } as unknown as Profilers;
  const watches = new InstanceWatches(watchers, pino({ level: 'silent' }));
  for (const cgroup of ['1', '2', '3', '4', '5']) watches.watch(cgroup, OWNER);
  t.same([[...cpu.watched], [...activity.watched], recorder.watched.size], [['1', '2', '3', '4', '5'], ['1', '2'], 5]);
  const { tries } = activity;
  watches.retry();
  t.same([activity.tries, cpu.tries], [tries + 1, 5], 'one look is enough to know that there is no room');
  watches.unwatch('4');
  watches.unwatch('1');
  watches.retry();
  t.same([...activity.watched], ['2', '3'], 'the first that waits, and not the one that has gone meanwhile');
  watches.unwatch('2');
  watches.unwatch('3');
  watches.retry();
  t.same([...activity.watched], ['5']);
  t.same([...cpu.watched], ['5']);
  watches.unwatch('5');
  watches.retry();
  t.same([cpu.watched.size, activity.watched.size, recorder.watched.size], [0, 0, 0]);
});
