import t from 'tap';
import {
  BEHIND_MS_MAX,
  FAILURES_MAX,
  HOST_LOST_MS,
  LOSSES_MAX,
  LOSSES_MS,
  SILENT_MS_MAX,
  standingOf,
} from '../../coordinator/host-standing.js';
import {
  type HostState,
  hostConnected,
  hostDisconnected,
  hostOrdered,
  startObserving,
  takeReport,
} from '../../coordinator/observed.js';
import type { InstanceStatus } from '../../protocol/link.js';

const status = (number: number, phase: InstanceStatus['phase']): InstanceStatus => {
  const size = { cpu: 1, memory: 1 };
  return { id: `a-web-${number}`, app: 'a', component: 'web', phase, size, restarts: 0, shards: [] };
};

/** Two hosts of which one is looked at. */
class Pair {
  readonly observed = startObserving(0);
  nowMs = 1_000_000;

  constructor() {
    for (const name of ['h1', 'h2']) this.connect(name);
  }
  connect(name: string): void {
    hostConnected(this.observed, { name, cores: 8, memoryBytes: 1, kernel: '6', degraded: [] }, this.nowMs);
  }
  say(name: string, revision: number, ...instances: InstanceStatus[]): void {
    takeReport(this.observed, name, revision, instances, this.nowMs);
  }
  state(): string {
    return standingOf(this.observed.hosts.get('h1') as HostState, this.observed, this.nowMs).state;
  }
}

t.test('a host that is away is lost after a while', async (t) => {
  const pair = new Pair();
  pair.say('h1', 1);
  t.equal(pair.state(), 'well');
  hostDisconnected(pair.observed, 'h1', pair.nowMs);
  t.equal(pair.state(), 'away');
  pair.nowMs += HOST_LOST_MS + 1;
  t.equal(pair.state(), 'lost');
  pair.connect('h1');
  t.equal(pair.state(), 'well', 'one loss is none');
});

t.test(
  'a host that says nothing, or takes nothing up, is wedged; one that is always a little behind is not',
  async (t) => {
    const pair = new Pair();
    pair.say('h1', 1);
    pair.nowMs += SILENT_MS_MAX + 1;
    t.equal(pair.state(), 'wedged');
    pair.say('h1', 1);
    t.equal(pair.state(), 'well');
    for (let revision = 2; revision < 40; revision += 1) {
      hostOrdered(pair.observed, 'h1', revision, pair.nowMs);
      pair.nowMs += 1_000;
      pair.say('h1', revision - 1);
      t.equal(pair.state(), 'well');
    }
    for (let second = 0; second * 1_000 <= BEHIND_MS_MAX; second += 1) {
      pair.nowMs += 1_000;
      pair.say('h1', 38);
    }
    t.equal(pair.state(), 'wedged');
    pair.say('h1', 39);
    t.equal(pair.state(), 'well');
  },
);

t.test('a host on which nothing comes up is wedged, unless it comes up nowhere', async (t) => {
  const pair = new Pair();
  for (let failure = 0; failure < FAILURES_MAX; failure += 1) {
    pair.say('h1', 1, status(1, 'starting'));
    pair.say('h1', 1, status(1, 'backoff'));
  }
  t.equal(pair.state(), 'well', 'the component is to blame');
  pair.say('h2', 1, status(2, 'ready'));
  t.equal(pair.state(), 'wedged');
  pair.say('h1', 1, status(1, 'ready'));
  t.equal(pair.state(), 'well', 'one got ready');
});

t.test('a host that was lost again and again flaps, until it has stayed for long enough', async (t) => {
  const pair = new Pair();
  for (let loss = 0; loss < LOSSES_MAX; loss += 1) {
    pair.say('h1', 1);
    t.equal(pair.state(), 'well');
    hostDisconnected(pair.observed, 'h1', pair.nowMs);
    pair.nowMs += 10_000;
    pair.connect('h1');
  }
  pair.say('h1', 1);
  t.equal(pair.state(), 'flapping');
  pair.nowMs += LOSSES_MS;
  pair.say('h1', 1);
  t.equal(pair.state(), 'well');
});
