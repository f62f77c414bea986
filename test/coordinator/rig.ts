import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { createApi } from '../../coordinator/api/server.js';
import { createEventLog } from '../../coordinator/events.js';
import { Coordinator } from '../../coordinator/loop.js';
import { openLmdbStore } from '../../coordinator/store/lmdb-store.js';
import type { Store } from '../../coordinator/store/store.js';

export const MANIFEST = `app: shop
components:
  web:
    rootfs: host
    command: [node, main.js]
    calls: [cart]
  cart:
    rootfs: host
    command: [node, cart.js]
    state: partitioned
    count: { min: 1, max: 4 }
`;

/** A coordinator with its store and API in this process; its clock stands still unless moved. */
export class CoordinatorRig {
  nowMs = 1_800_000_000_000;
  private constructor(
    readonly folder: string,
    readonly store: Store,
    readonly coordinator: Coordinator,
    readonly api: FastifyInstance,
  ) {}

  static async make(token: string | null = null): Promise<CoordinatorRig> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-coordinator-'));
    const store = openLmdbStore({ folder: join(folder, 'data') });
    let rig: CoordinatorRig | undefined;
    const clock = () => rig?.nowMs ?? 1_800_000_000_000;
    const log = pino({ level: 'silent' });
    const coordinator = await Coordinator.open({ store, events: createEventLog(clock()), clock, log });
    const options = { coordinator, run: join(folder, 'run'), version: '0.0.0', token, loopback: true, log };
    rig = new CoordinatorRig(folder, store, coordinator, await createApi(options));
    return rig;
  }

  /** A host that is there and has applied everything so far. */
  async addHost(name: string): Promise<void> {
    const info = { name, cores: 64, memoryBytes: 2 ** 38, kernel: '6.1', degraded: [] };
    await this.coordinator.connect(info, 0);
    this.coordinator.report(name, 0, [], []);
  }

  async close(): Promise<void> {
    await this.api.close();
    await this.coordinator.stop();
    await this.store.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
