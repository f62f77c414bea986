import { mkdtempSync, openSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { Segments } from '../../agent/segments.js';
import { Copies, type CopyEnvelope } from '../../agent/state/copies.js';
import { Snapshots } from '../../agent/state/snapshots.js';
import { native } from '../../native/index.js';
import type { CopyRecord } from '../../protocol/state-copies.js';
import { copyName } from '../../protocol/state-copies-parse.js';
import { stateName } from '../../sdk/state/key-bytes.js';
import { ShardLog } from '../../sdk/state/shard-log.js';

const KEY = 'lab/state';
const SHARD = 0;
const COPY = copyName(KEY, SHARD);
const BOOT = 'lab';
const STATE = stateName('numbers');
const LIMITS = { shardBytesMax: 16 * 1024 * 1024, valueBytesMax: 64 * 1024 };
/** Keys are written in turn. The first writes are what the other host is filled with, the others go as they are made. */
const KEYS = 100;
const FILLED_VALUE_BYTES = 20_000;
const VALUE_BYTES_MAX = 1_000;
/** Writes that the other host does not hold yet. */
const AHEAD_MAX = 32;

/**
 * One host's copy of a state shard, as its agent keeps it. The owner's is written to, as by an instance, while the other host
 * is filled and then follows; the coordinator's part is played by the owner.
 */
export class ShardPeer {
  readonly #owner: string;
  readonly #replica: string;
  readonly #owns: boolean;
  readonly #tellRecord: (record: CopyRecord) => void;
  readonly #segments = new Segments(mkdtempSync('/dev/shm/shoal-lab-'));
  readonly #copies: Copies;
  #record: CopyRecord | undefined;
  #log: ShardLog | undefined;
  #held = 0;
  problem: string | undefined;

  /** `tellRecord`: to the other host; may be lost. */
  constructor(
    hosts: { owner: string; replica: string; own: string },
    send: (messages: CopyEnvelope[]) => boolean,
    tellRecord: (record: CopyRecord) => void,
  ) {
    this.#owner = hosts.owner;
    this.#replica = hosts.replica;
    this.#owns = hosts.own === hosts.owner;
    this.#tellRecord = tellRecord;
    this.#copies = new Copies({
      host: hosts.own,
      boot: BOOT,
      log: pino({ level: 'silent' }),
      path: () => this.#segments.path(KEY, SHARD),
      send: (_, messages) => send(messages),
      server: () => ({
        freeze: async () => {},
        drop: async () => {},
        held: (index) => {
          this.#held = index;
        },
      }),
      changed: () => {},
      came: () => this.#open(),
      tell: () => this.#lookAtReport(),
      known: () => {},
      problem: (_, message) => {
        this.problem = message;
      },
      snapshots: new Snapshots({ folder: join(this.#segments.path(KEY, SHARD), 'none'), bytesMax: 1 }),
      restored: () => {},
      damaged: () => {},
    });
  }

  /** Begins: the owner with what the other one is to be filled with. */
  begin(): void {
    const [host, since] = [this.#replica, 1];
    const create = { [this.#owner]: BOOT };
    this.configure({ ...this.#serving(1), inSync: [this.#owner], joining: [{ host, since }], create });
  }

  get begun(): boolean {
    return this.#record !== undefined;
  }

  /** What the coordinator would say. */
  configure(record: CopyRecord): void {
    this.#record = record;
    this.#copies.apply({ copies: { [COPY]: record } });
  }

  receive(from: string, messages: readonly CopyEnvelope[]): void {
    this.#copies.receive(from, messages);
  }

  /** The next write, and the record for a host that has not heard of it. */
  turn(writes: boolean): void {
    if (!this.#owns || this.#log === undefined || this.#record === undefined) return;
    this.#tellRecord(this.#record);
    if (!this.joined) return;
    if (writes && this.written - this.#held < AHEAD_MAX) this.#write(this.#log);
    if (this.#held < this.written) this.#copies.waits(KEY, SHARD, this.written);
  }

  /** Whether the other host has all, and follows. */
  get joined(): boolean {
    return this.#record?.inSync.includes(this.#replica) === true;
  }

  /** Writes that were made here. */
  get written(): number {
    return this.#log?.index ?? 0;
  }

  /** Of an owner: writes that both hosts hold; else those that this one holds. */
  get held(): number {
    return this.#owns ? this.#held : (this.#copies.reports()[COPY]?.last ?? 0);
  }

  /** What is wrong with the copy here after so many writes; undefined when it is as it should be. */
  check(writes: number): string | undefined {
    const fd = openSync(this.#segments.path(KEY, SHARD), 'r+');
    const log = new ShardLog(native.openSharedFile(fd), COPY, LIMITS);
    try {
      if (log.index !== writes || log.entries !== Math.min(writes, KEYS)) {
        return `the copy has ${log.entries} entries after write ${log.index}, of ${writes}`;
      }
      for (const { key, value } of log.scan(STATE)) {
        const last = Number(key) + KEYS * Math.floor((writes - 1 - Number(key)) / KEYS);
        if (!valueAt(last).equals(value)) return `key ${key} is not what write ${last} made it`;
      }
      return undefined;
    } finally {
      log.close();
    }
  }

  #serving(epoch: number): Pick<CopyRecord, 'epoch' | 'phase' | 'owner'> {
    return { epoch, phase: 'serving', owner: { host: this.#owner, instance: null } };
  }

  #open(): void {
    if (!this.#owns || this.#log !== undefined) return;
    const { fd, epoch } = this.#segments.grant(KEY, SHARD);
    this.#log = new ShardLog(native.openSharedFile(fd), COPY, LIMITS);
    this.#log.own(epoch);
    for (let i = 0; i < KEYS; i += 1) this.#write(this.#log);
  }

  #write(log: ShardLog): void {
    log.put(STATE, String(log.index % KEYS), valueAt(log.index));
  }

  /** The other host has been filled: from then on writes wait for it. */
  #lookAtReport(): void {
    const isFilled = this.#copies.reports()[COPY]?.synced.some(({ host }) => host === this.#replica);
    if (!this.#owns || this.joined || isFilled !== true) return;
    // Not from within the report.
    setImmediate(() => this.configure({ ...this.#serving(2), inSync: [this.#owner, this.#replica], joining: [] }));
  }
}

function valueAt(write: number): Buffer {
  const length = write < KEYS ? FILLED_VALUE_BYTES : 8 + ((write * 7919) % (VALUE_BYTES_MAX - 8));
  const bytes = Buffer.alloc(length, write & 255);
  bytes.writeDoubleLE(write);
  return bytes;
}
