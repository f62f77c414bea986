import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import type { LogSource, ProfileSource } from '../../coordinator/agent-questions.js';
import { createApi } from '../../coordinator/api/server.js';
import { componentKey, desiredFor } from '../../coordinator/cluster.js';
import { createEventLog } from '../../coordinator/events.js';
import { Coordinator } from '../../coordinator/loop.js';
import { SecretBox } from '../../coordinator/secret-box.js';
import { openLmdbStore } from '../../coordinator/store/lmdb-store.js';
import type { Store } from '../../coordinator/store/store.js';
import { LATENCY_BUCKETS } from '../../protocol/control.js';
import { ShoalError } from '../../protocol/errors.js';
import { newsOf } from '../../protocol/instance-news.js';
import type { HostInfo, InstanceStatus } from '../../protocol/link.js';

export const MANIFEST = `app: shop
components:
  web:
    rootfs: host
    command: [node, main.js]
    calls: [cart]
  cart:
    rootfs: host
    command: [node, cart.js]
    state: {mode: partitioned, shards: 64}
    count: { min: 1, max: 4 }
`;

/** A coordinator with its store and API in this process; its clock stands still unless moved. */
export class CoordinatorRig {
  nowMs = 1_800_000_000_000;
  /** What the agents would answer: nothing, since there are none. */
  profiles: ProfileSource = {
    hosts: () => [],
    ask: () => Promise.reject(new Error('no agent is there')),
  };
  /** Likewise. */
  logs: LogSource = {
    readLog: () => Promise.reject(new ShoalError('SHOAL_E_UNREACHABLE', 'no agent is there')),
  };
  /** Warnings and worse, as JSON lines. */
  readonly log: string[] = [];
  /** Instance id → CPU-seconds since it started. */
  readonly #used = new Map<string, number>();
  store!: Store;
  coordinator!: Coordinator;
  api!: FastifyInstance;

  private constructor(
    readonly folder: string,
    readonly token: string | null,
  ) {}

  static async make(token: string | null = null): Promise<CoordinatorRig> {
    const rig = new CoordinatorRig(await mkdtemp(join(tmpdir(), 'shoal-coordinator-')), token);
    await rig.#open();
    return rig;
  }

  /**
   * Another coordinator reads what was stored; hosts have to be added again. The one before ended in good order, or was
   * killed: then it stores nothing more.
   */
  async restart(how: 'killed' | 'stopped' = 'killed'): Promise<void> {
    await this.#shut(how);
    await this.#open();
  }

  async #open(): Promise<void> {
    const clock = () => this.nowMs;
    const log = pino({ level: 'warn' }, { write: (line: string) => this.log.push(line) });
    this.store = openLmdbStore({ folder: join(this.folder, 'data') });
    const { store } = this;
    this.coordinator = await Coordinator.open({ store, events: createEventLog(), clock, log });
    const { coordinator, token } = this;
    this.api = await createApi({
      coordinator,
      profiles: this.profiles,
      logs: this.logs,
      exec: {
        exec: () => Promise.reject(new Error('no agent is there')),
        openState: () => Promise.reject(new Error('no agent is there')),
      },
      secrets: new SecretBox(join(this.folder, 'secret.key'), true),
      run: join(this.folder, 'run'),
      version: '0.0.0',
      token,
      loopback: true,
      log,
    });
  }

  async #shut(how: 'killed' | 'stopped'): Promise<void> {
    await this.api.close();
    if (how === 'stopped') await this.coordinator.stop();
    else await Promise.all([this.coordinator.refits.stop(), this.coordinator.change((state) => state)]);
    await this.store.close();
  }

  /**
   * One second in which every instance on `host` is ready and uses its share of its component's demand in cores, no more
   * than its size; then the loop turns once.
   */
  async second(host: string, demand: Readonly<Record<string, number>>): Promise<void> {
    this.nowMs += 1_000;
    const { revision, instances } = desiredFor(this.coordinator.state, host);
    const statuses = instances.map(({ id, app, component, size }): InstanceStatus => {
      const key = componentKey(app, component);
      const share =
        (demand[key] ?? 0) / instances.filter((each) => componentKey(each.app, each.component) === key).length;
      const used = (this.#used.get(id) ?? 0) + Math.min(size.cpu, share);
      this.#used.set(id, used);
      const calls = { arrived: used * 100, finished: used * 100, failed: 0, outstanding: 0 };
      const latencyBuckets = Array.from({ length: LATENCY_BUCKETS }, (_, i) => (i === 10 ? calls.finished : 0));
      const sample = {
        cpuSeconds: used,
        memoryBytes: 2 ** 20,
        ioReadBytes: 0,
        ioWriteBytes: 0,
        ...calls,
        latencyBuckets,
      };
      return { id, app, component, phase: 'ready', size, restarts: 0, shards: [], sample };
    });
    this.coordinator.report(host, { ...newsOf(statuses), revision, events: [] });
    await this.coordinator.tick();
  }

  /** A host that is there and has applied everything so far. */
  async addHost(name: string, more: Partial<HostInfo> = {}): Promise<void> {
    const info = { name, cores: 64, memoryBytes: 2 ** 38, kernel: '6.1', degraded: [], ...more };
    await this.coordinator.connect(info, 0);
    this.coordinator.report(name, { ...newsOf([]), revision: 0, events: [] });
  }

  async close(): Promise<void> {
    await this.#shut('stopped');
    await rm(this.folder, { recursive: true, force: true });
  }
}
