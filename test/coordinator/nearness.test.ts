import t from 'tap';
import { place } from '../../coordinator/brain/placement.js';
import { assignShards } from '../../coordinator/brain/shards.js';
import { applyManifest, type ClusterState, desiredFor, EMPTY_CLUSTER, setOverride } from '../../coordinator/cluster.js';
import { hostConnected, startObserving, takeReport } from '../../coordinator/observed.js';
import { reconcile } from '../../coordinator/reconcile.js';
import { Traffic } from '../../coordinator/traffic.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import type { InstanceStatus } from '../../protocol/link.js';
import { parseManifest } from '../../protocol/manifest-parse.js';

const component = (more: string) => `{ rootfs: host, command: [x], ${more} }`;
/** cart and mail are kept on hosts of their own; web may be anywhere, and is not there at first. */
const MANIFEST = `app: shop
components:
  front: ${component('calls: [cart, mail, web], place: { require: { zone: f } }')}
  cart: ${component('calls: [web], place: { require: { zone: c } }')}
  mail: ${component('calls: [front], place: { require: { zone: m } }')}
  web: ${component('calls: [mail], count: { min: 0, max: 4 }')}
`;
const HOSTS = ['f', 'c', 'm'];

/** Three hosts; what each component calls each second is up to the test. */
class World {
  nowMs = 1_800_000_000_000;
  state: ClusterState;
  readonly traffic = new Traffic();
  readonly #observed = startObserving(this.nowMs);
  readonly #called = new Map<string, Record<string, number>>();

  constructor(private readonly rates: Record<string, Record<string, number>>) {
    const parsed = parseManifest(MANIFEST, 'yaml');
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.errors));
    this.state = setOverride(applyManifest(EMPTY_CLUSTER, parsed.manifest), 'shop', 'web', 0);
    for (const zone of HOSTS) {
      const info = { name: zone, cores: 8, memoryBytes: 2 ** 36, kernel: '6', degraded: [], labels: { zone } };
      hostConnected(this.#observed, info, this.nowMs);
      takeReport(this.#observed, zone, 0, [], this.nowMs);
    }
    this.seconds(1);
  }

  seconds(count: number): void {
    for (let i = 0; i < count; i += 1) {
      this.nowMs += 1_000;
      for (const host of HOSTS) {
        const { revision, instances } = desiredFor(this.state, host);
        const statuses = instances.map((each) => this.#status(each));
        takeReport(this.#observed, host, revision, statuses, this.nowMs);
      }
      this.traffic.look(this.state, this.#observed, this.nowMs);
      const brain = { place, assignShards };
      this.state = reconcile(this.state, this.#observed, brain, this.nowMs, this.traffic).state;
    }
  }

  /** The host of the first instance of web, once there is to be one. */
  placesWeb(): string | undefined {
    this.state = setOverride(this.state, 'shop', 'web', 1);
    this.seconds(1);
    return this.state.instances.byComponent.get('shop/web')?.[0]?.host;
  }

  #status({ id, app, component, size }: ReturnType<typeof desiredFor>['instances'][number]): InstanceStatus {
    const called = { ...this.#called.get(id) };
    for (const [callee, rate] of Object.entries(this.rates[component] ?? {})) {
      called[callee] = (called[callee] ?? 0) + rate;
    }
    this.#called.set(id, called);
    const calls = { arrived: 0, finished: 0, failed: 0, outstanding: 0, called };
    const use = { cpuSeconds: 0, memoryBytes: 1, ioReadBytes: 0, ioWriteBytes: 0 };
    const sample = { ...use, ...calls, latencyBuckets: Array.from({ length: LATENCY_BUCKETS }, () => 0) };
    return { id, app, component, size, phase: 'ready', restarts: 0, shards: [], sample };
  }
}

t.test('a new instance comes to the host of those with whom its component talks most', async (t) => {
  // All talk with web, in either direction; only the counters differ.
  const talk = (front: number, cart: number) => ({ front: { web: front, cart: 500 }, cart: { web: cart } });
  for (const [rates, host] of [
    [talk(90, 10), 'f'],
    [talk(10, 90), 'c'],
  ] as const) {
    const world = new World(rates);
    world.seconds(60);
    t.equal(world.placesWeb(), host, JSON.stringify(rates));
  }
});

t.test('before anything is measured, and where there is too little of it, the manifest says who is near', async (t) => {
  t.equal(new World({}).placesWeb(), 'm', 'web may call mail');
  const world = new World({ cart: { web: 0.5 } });
  world.seconds(60);
  t.equal(world.placesWeb(), 'm');
});

t.test('what a process says that it has called without being allowed to draws nobody', async (t) => {
  const world = new World({ mail: { web: 1_000 }, cart: { web: 20 } });
  world.seconds(60);
  t.equal(world.placesWeb(), 'c');
});
