import { rmSync } from 'node:fs';
import type { CopyMessage, CopyRecord, CopyReport, Known, SnapshotMark } from '../../protocol/state-copies.js';
import { hostsOf } from '../../protocol/state-copies-parse.js';
import { type CopyMemory, emptyNote } from './copy-memory.js';
import { COPY_TIMING, type CopyTiming } from './copy-timing.js';
import { NoteFile } from './note-file.js';
import { withoutFuture } from './said-times.js';
import { SegmentStore } from './segment-store.js';
import { ShardCopy } from './shard-copy.js';
import type { SnapshotContent } from './snapshots.js';

/** A loaded machine is not a dead one. */
const TIMING: CopyTiming = { ...COPY_TIMING, silentMs: 2_000 };

/** The instance that serves the shard here, as far as its copy is concerned. */
export interface Server {
  /** Waits for calls at work and sends others to the instance `to`, where that is known; rejects when they do not end. */
  freeze(to: string | null): Promise<void>;
  /** It has the shard no longer, whatever works on it. */
  drop(): Promise<void>;
  /** What its calls wait for: all copies hold the log up to this index, and nobody else serves until then. */
  held(index: number, untilMs: number): void;
}

export interface HeldCopyTools {
  host: string;
  boot: string;
  /** Of the segment. */
  path: string;
  /** CLOCK_MONOTONIC, in ms. */
  now(): number;
  mayFill(bytes: number): boolean;
  send(host: string, message: CopyMessage): void;
  /** Who has the shard here and speaks with the agent; undefined: nobody. */
  server(): Server | undefined;
  /** Whether it may be served here has changed, or what there is to report. */
  changed(): void;
  /** It may be served here from now on. */
  came(): void;
  failed(error: unknown): void;
  /** The newest one of the shard on the disk. */
  snapshot(): SnapshotMark | null;
  /** `known` is another than before. */
  known(): void;
}

function withoutCreate({ create: _, restore: __, ...record }: CopyRecord): CopyRecord {
  return record;
}

/**
 * The copy of one state shard on this host: the state machine over its segment and its note. Calls are run by an instance,
 * which writes into the segment by itself and answers when it is told what other copies hold. Whatever a step of the machine
 * says to others is said after all that it remembers is written.
 */
export class HeldCopy {
  readonly #tools: HeldCopyTools;
  readonly #file: NoteFile;
  readonly #store: SegmentStore;
  readonly #memory: CopyMemory;
  readonly #copy: ShardCopy<never>;
  #record: CopyRecord | null = null;
  #outgoing: [host: string, message: CopyMessage][] = [];
  /** Nobody works on the shard: it may be passed. */
  #quiet = false;
  #releasing = false;
  /** The index that calls wait for. */
  #waits: number | null = null;
  #served = false;
  /** The news that was told last. */
  #reported: string;
  /** Since when the segment is the file that it is. */
  #fileSince = { file: 0, ms: Number.NEGATIVE_INFINITY };
  #told: Known | null = null;

  /** Throws SHOAL_E_STATE_DAMAGED. */
  constructor(tools: HeldCopyTools) {
    this.#tools = tools;
    this.#file = new NoteFile(`${tools.path}.note`);
    this.#store = new SegmentStore(tools.path);
    const stored = this.#file.read();
    const note = stored ?? emptyNote();
    // From before there were notes: whoever is to own it has it. A first fill that was cut short has left a note.
    if (stored === null && this.#store.exists) note.role = 'replica';
    this.#store.refresh();
    this.#memory = { note, store: this.#store };
    this.#copy = new ShardCopy<never>({
      host: tools.host,
      boot: tools.boot,
      memory: this.#memory,
      timing: TIMING,
      nowMs: tools.now(),
      mayFill: tools.mayFill,
      isQuiet: () => this.#quiet,
      out: (effect) => {
        if (effect.type === 'send') this.#outgoing.push([effect.to, effect.message]);
      },
    });
    this.#reported = this.#news(tools.now());
  }

  get record(): CopyRecord | null {
    return this.#record;
  }

  /** Rises when what instances have mapped of the segment is of no use any more. */
  get file(): number {
    return this.#store.file;
  }

  /** Up to where the segment, as the file that it is now, may be read by who does not own the shard. */
  get known(): Known | null {
    const { known } = this.#copy;
    return known !== null && known.atMs > this.#fileSince.ms ? known : null;
  }

  /** Whether an instance of this host may serve the shard. */
  get serves(): boolean {
    return !this.#releasing && this.#copy.serves(this.#tools.now());
  }

  /** Whether nobody here may serve the shard, or is about to be asked to stop. */
  get isElsewhere(): boolean {
    return !this.#releasing && this.#memory.note.role !== 'owner';
  }

  /** Whether it is being passed on, and who takes it has not spoken yet. */
  get isLeaving(): boolean {
    return this.#copy.isPassing || this.#memory.note.passed !== null;
  }

  /** Whether it may be here next: who would serve it can read it already. */
  get isWhole(): boolean {
    const { role } = this.#memory.note;
    return role === 'replica' || role === 'owner';
  }

  get isBusy(): boolean {
    return this.#copy.isBusy || this.#waits !== null || (this.#memory.note.role === 'owner' && !this.serves);
  }

  /** An owner with others to ask, or one that has passed the shard on. */
  get isActive(): boolean {
    return this.isBusy || this.#copy.isWatched;
  }

  /** Of an owner: what `Server.held` would be told now; null while there is nothing to tell. */
  get heldNow(): { index: number; untilMs: number } | null {
    const nowMs = this.#tools.now();
    const untilMs = this.#copy.leasedUntilMs(nowMs);
    return this.serves && untilMs > nowMs ? { index: this.#copy.held, untilMs } : null;
  }

  /** Whether there is another snapshot to tell of than when this was reported: what the disk holds changes by itself. */
  hasOtherSnapshot({ snapshot }: CopyReport): boolean {
    if (this.#memory.note.role !== 'none') return false;
    const now = this.#tools.snapshot();
    return now?.epoch !== snapshot?.epoch || now?.last !== snapshot?.last;
  }

  report(): CopyReport {
    const report = this.#copy.report(this.#tools.now());
    const snapshot = report.role === 'none' ? this.#tools.snapshot() : null;
    return snapshot === null ? report : { ...report, snapshot };
  }

  /** Whether the record has this host begin with a snapshot, which it has not done yet. */
  begins(record: CopyRecord): boolean {
    const { note } = this.#memory;
    const isAsked = record.restore !== undefined && record.create?.[this.#tools.host] === this.#tools.boot;
    return isAsked && note.role === 'none' && record.epoch > note.epoch && !this.#isSpent(record);
  }

  /**
   * `content`: of the snapshot that the record has it begin with. Without it nothing begins here: that is reported, with the
   * snapshots that there are, so that the coordinator chooses anew among those of all hosts.
   */
  configure(given: CopyRecord, content: SnapshotContent | null = null): void {
    if (this.#record !== null && given.epoch <= this.#record.epoch) return;
    const isInVain = content === null && this.begins(given);
    const record = isInVain || this.#isSpent(given) ? withoutCreate(given) : given;
    this.#record = record;
    const { note } = this.#memory;
    if (note.role === 'none' && !hostsOf(record).has(this.#tools.host) && !this.#store.exists) {
      // Nothing is here that could be dropped. The next agent learns of the epoch by the record, as this one does.
      note.epoch = Math.max(note.epoch, record.epoch);
      this.#reported = this.#news(this.#tools.now());
      return;
    }
    const isOfThisLife = note.epoch > (record.bornAfter ?? 0);
    const stays = isOfThisLife && record.owner?.host === this.#tools.host && record.phase !== 'fencing';
    if (note.role === 'owner' && record.epoch > note.epoch && !stays) this.#yieldNow();
    const begins = this.begins(record);
    this.#step((nowMs) => {
      this.#copy.configure(record, nowMs);
      if (begins && content !== null) this.#fillWith(content);
    });
    if (this.#copy.isPassing) void this.#release();
  }

  #fillWith({ last, parts }: SnapshotContent): void {
    this.#store.begin(last);
    for (const records of parts) this.#store.put([['', records]]);
  }

  /** A snapshot of the record's own time shows that it has begun before: its memory is gone, and it does not begin empty again. */
  #isSpent({ epoch, create }: CopyRecord): boolean {
    const { host, snapshot } = this.#tools;
    return this.#memory.note.role === 'none' && create?.[host] !== undefined && (snapshot()?.epoch ?? -1) >= epoch;
  }

  receive(from: string, message: CopyMessage): void {
    const { note } = this.#memory;
    // Of what another owner says these two end the ownership here; a fill waits for the record that does.
    const ends = message.type === 'append' || message.type === 'pass';
    if (note.role === 'owner' && message.epoch > note.epoch && ends) this.#yieldNow();
    this.#step((nowMs) => this.#copy.receive(from, withoutFuture(message, nowMs), nowMs));
  }

  tick(): void {
    this.#step((nowMs) => this.#copy.tick(nowMs));
    if (this.#copy.isPassing) void this.#release();
  }

  /** Has `known` be renewed. */
  ask(): void {
    this.#step((nowMs) => this.#copy.ask(nowMs));
  }

  /** Calls on the shard wait until other copies hold its log up to this index. */
  waits(index: number): void {
    this.#waits = index;
    this.tick();
  }

  /** Nothing is left of it here. */
  remove(): void {
    this.#store.close();
    for (const end of ['', '.begun', '.note', '.note.new', '.new', '.new.begun'])
      rmSync(this.#tools.path + end, { force: true });
  }

  close(): void {
    this.#store.close();
  }

  /** Another host owns the shard: whoever serves it here may write no more, ready or not. */
  #yieldNow(): void {
    this.#store.depose(this.#quiet);
    this.#quiet = false;
    const server = this.#tools.server();
    if (server !== undefined) server.drop().catch((error: unknown) => this.#tools.failed(error));
  }

  /** The shard is to be passed on: its last calls here end. */
  async #release(): Promise<void> {
    if (this.#releasing || this.#quiet) return;
    this.#releasing = true;
    const { epoch } = this.#memory.note;
    try {
      const server = this.#tools.server();
      this.#tools.changed();
      await server?.freeze(this.#record?.passTo?.instance ?? null);
      const { note } = this.#memory;
      if (note.role !== 'owner' || note.epoch !== epoch) return;
      // Who has never said anything since this agent began may write still, and is stopped by the epoch alone.
      this.#store.depose(server !== undefined);
      this.#quiet = true;
      this.#step((nowMs) => this.#copy.tick(nowMs));
      await server?.drop();
    } catch (error) {
      this.#tools.failed(error);
    } finally {
      this.#releasing = false;
    }
  }

  #step(act: (nowMs: number) => void): void {
    const { note } = this.#memory;
    const nowMs = this.#tools.now();
    if (note.role === 'owner') this.#store.refresh();
    act(nowMs);
    this.#remember();
    for (const [host, message] of this.#outgoing.splice(0)) this.#tools.send(host, message);
    this.#tellKnown(nowMs);
    if (note.role !== 'owner') this.#quiet = false;
    this.#answer(nowMs);
    const { serves } = this;
    const news = this.#news(nowMs);
    if (serves === this.#served && news === this.#reported) return;
    if (serves && !this.#served) this.#tools.came();
    this.#served = serves;
    this.#reported = news;
    this.#tools.changed();
  }

  #tellKnown(nowMs: number): void {
    const { file } = this.#store;
    // What was asked before counts for the file before.
    if (file !== this.#fileSince.file) this.#fileSince = { file, ms: nowMs };
    const { known } = this;
    if (known === null || known === this.#told) return;
    this.#told = known;
    this.#tools.known();
  }

  /** What the coordinator waits for; some of it comes by time alone, as that a replica has fallen silent. */
  #news(nowMs: number): string {
    const { epoch, role, synced, failing } = this.#copy.report(nowMs);
    return `${epoch} ${role} ${synced.length} ${failing.length}`;
  }

  /** First that there is no whole copy, then what comes in its place; else first what there is, then that it is there. */
  #remember(): void {
    const { note } = this.#memory;
    if (this.#store.isBegun) {
      this.#file.write({ ...emptyNote(), epoch: Math.min(this.#file.epoch, note.epoch), attempts: note.attempts });
    }
    this.#store.flush();
    if (note.role === 'owner') this.#store.watch(this.#copy.isWatched);
    this.#file.write(note);
  }

  #answer(nowMs: number): void {
    if (this.#memory.note.role !== 'owner') {
      this.#waits = null;
      return;
    }
    const { held } = this.#copy;
    if (!this.#copy.isWatched) this.#store.forget(held);
    if (this.#waits === null || held < this.#waits) return;
    const untilMs = this.#copy.leasedUntilMs(nowMs);
    const server = this.#tools.server();
    // Who has just begun to serve may ask before it is known to: it is answered with one of the next ticks.
    if (untilMs <= nowMs || server === undefined) return;
    this.#waits = null;
    server.held(held, untilMs);
  }
}
