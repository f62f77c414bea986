import { nextRecord, type SeenHosts, type WantedShard } from '../../../../coordinator/state/shard-record.js';
import type { CopyRecord, CopyReport } from '../../../../protocol/state-copies.js';
import type { World } from '../../../coordinator/simulation/world.js';
import type { Planted } from './planted.js';

const TIMING = { fenceMsMax: 120, passMsMax: 250, returnMsMax: 0 };
/** Shorter than a lease, so that nothing but leases keeps two owners from serving. */
const THERE_MS = 80;
const TURN_MS = 10;

interface Heard {
  atMs: number;
  boot: string;
  report: CopyReport;
}

/** A coordinator that may be killed, over a store that keeps what was committed. */
export class SimCoordinator {
  wanted: WantedShard;
  /** In the store. */
  record: CopyRecord | null = null;
  /** On its way there. */
  committing: CopyRecord | null = null;
  readonly #world: World;
  readonly #planted: Planted;
  readonly #send: (record: CopyRecord) => void;
  #heard = new Map<string, Heard>();
  #sinceMs = 0;
  /** Numbers the processes: what one has begun ends with it. */
  #process = 1;
  #lives = true;

  constructor(world: World, planted: Planted, wanted: WantedShard, send: (record: CopyRecord) => void) {
    this.#world = world;
    this.#planted = planted;
    this.wanted = wanted;
    this.#send = send;
    this.#turn();
  }

  get lives(): boolean {
    return this.#lives;
  }

  kill(): void {
    this.#lives = false;
    this.#process += 1;
    this.#heard.clear();
    // What was on its way may have come, or not.
    if (this.committing !== null && this.#world.chance(0.5)) this.record = this.committing;
    this.committing = null;
  }

  start(): void {
    this.#lives = true;
    this.#sinceMs = this.#world.nowMs;
  }

  hear(host: string, boot: string, report: CopyReport): void {
    if (!this.#lives) return;
    const before = this.#heard.get(host)?.report;
    // Reports of one boot come in order over the link; those that came late are not looked at.
    if (before !== undefined && this.#heard.get(host)?.boot === boot && report.epoch < before.epoch) return;
    if ((this.#heard.get(host)?.boot ?? '') > boot) return;
    this.#heard.set(host, { atMs: this.#world.nowMs, boot, report });
  }

  /** Nobody has said that something is wrong, and nothing is under way. */
  get isQuiet(): boolean {
    const { record } = this;
    if (!this.#lives || record === null || record.phase !== 'serving' || this.committing !== null) return false;
    return record.inSync.every((host) => {
      const heard = this.#heard.get(host);
      return heard?.report.epoch === record.epoch && heard.report.failing.length === 0 && this.#isThere(host);
    });
  }

  #turn(): void {
    this.#world.at(this.#world.nowMs + TURN_MS, () => {
      this.#turn();
      if (!this.#lives) return;
      if (this.record !== null) this.#send(this.record);
      // A new coordinator gives hosts the time to report before it misses any.
      if (this.committing !== null || this.#world.nowMs - this.#sinceMs < (this.#heard.size < 4 ? THERE_MS : 0)) return;
      const next = nextRecord(this.record, this.wanted, this.#seen(), TIMING, this.#world.nowMs - this.#sinceMs);
      if (next !== this.record && next !== null) this.#commit(next);
    });
  }

  #commit(next: CopyRecord): void {
    this.committing = next;
    if (this.#planted.unstored === true) this.#send(next);
    const process = this.#process;
    this.#world.at(this.#world.nowMs + this.#world.between(0.1, 20), () => {
      if (process !== this.#process) return;
      this.record = next;
      this.committing = null;
      this.#sinceMs = this.#world.nowMs;
      this.#send(next);
    });
  }

  #isThere(host: string): boolean {
    return this.#world.nowMs - (this.#heard.get(host)?.atMs ?? Number.NEGATIVE_INFINITY) < THERE_MS;
  }

  #seen(): SeenHosts {
    return {
      isThere: (host) => this.#isThere(host),
      speaks: (host) => this.#isThere(host),
      isGone: () => false,
      isGivenUp: () => false,
      bootOf: (host) => this.#heard.get(host)?.boot ?? null,
      reporting: () => [...this.#heard.keys()],
      reportOf: (host) => this.#heard.get(host)?.report ?? null,
      instanceOn: (host) => `instance-${host}`,
    };
  }
}
