import type { ShardedSettings } from '../protocol/control.js';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { monotonicMs } from '../protocol/monotonic.js';
import type { WritePart } from '../protocol/state-transfer.js';
import { AccessCounts } from './state/access-counts.js';
import { Intake } from './state/intake.js';
import { type SegmentMemory, ShardLog } from './state/shard-log.js';

interface Shard {
  readonly log: ShardLog;
  readonly epoch: number;
  /** Calls that work on it now. */
  users: number;
  /** No call may begin: it comes, is about to leave, or has been handed over. */
  closing: boolean;
  /** Its hooks are told of what was imported. */
  renewing: boolean;
  /** What is imported into it now. */
  intake: Intake | undefined;
  /** Another may write to it: what would change here now would be lost. */
  frozen: boolean;
  idle: (() => void)[];
  /** What is known of the other copies: they hold the log up to `index`, and nobody else serves the shard until then. */
  held: Held;
  /** Calls whose answer waits for other copies. */
  waits: { index: number; settled(): void; failed(error: ShoalError): void }[];
  /** The agent has been asked, and has not answered yet. */
  asked: boolean;
}

/** Other copies hold the log up to `index`, and nobody else serves the shard until then, in ms of CLOCK_MONOTONIC. */
interface Held {
  index: number;
  untilMs: number;
}

/** A segment that the agent has sent; or why it cannot be read. */
interface Offered {
  epoch: number;
  log: ShardLog | ShoalError;
}

const NOTHING_TO_LEAVE = () => {};

export type ShardHook = (shard: number) => unknown;

/** Calls at work on a shard have so long to end; the agent waits a little longer for the answer. */
const FREEZE_MS_MAX = LIMITS.handoverMsMax - 1_000;
/** The segment was sent before the command that needs it, on another socket. */
const SEGMENT_MS_MAX = 2_000;
const NOTHING_HELD: Held = { index: Number.NEGATIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };

/**
 * The state shards that this instance holds. What is in them lies in segments of the agent, so that a shard changes hands
 * without a copy and outlives this process. Every change of hands can be repeated with the same result.
 */
export class ShardStore {
  readonly settings: ShardedSettings | null;
  readonly access = new AccessCounts();
  readonly #shards = new Map<number, Shard>();
  readonly #offered = new Map<number, Offered>();
  readonly #waiting = new Set<() => void>();
  /** By shard that was here: the instance that has it next. */
  readonly #next = new Map<number, string>();
  /** Of calls that have come before their shards. */
  readonly #awaited = new Set<() => void>();
  readonly #ends = new Set<() => void>();
  readonly #freezeMsMax: number;
  readonly #arrive: ShardHook[] = [];
  readonly #leave: ShardHook[] = [];
  readonly #freeze: (() => void)[] = [];
  #ask: (shard: number, index: number) => void = () => undefined;

  constructor(settings: ShardedSettings | null = null, freezeMsMax = FREEZE_MS_MAX) {
    this.settings = settings;
    this.#freezeMsMax = freezeMsMax;
  }

  get held(): number[] {
    return [...this.#shards.keys()].sort((a, b) => a - b);
  }

  /** Those that are leaving, and those that its agent has taken without a word: it owns them anew if they are to be here. */
  get frozen(): number[] {
    return this.held.filter((shard) => {
      const here = this.#shards.get(shard);
      return here !== undefined && (here.closing || !here.log.mine);
    });
  }

  serves(shard: number): boolean {
    const here = this.#shards.get(shard);
    return here !== undefined && !here.closing && !here.renewing && here.log.mine;
  }

  /** Whether what is here may be read, by who asks for no more than `settled` says. */
  has(shard: number): boolean {
    const here = this.#shards.get(shard);
    return here !== undefined && !here.frozen && here.log.mine;
  }

  /** Called before the shard's first call here, and when it can be read and written. */
  onArrive(hook: ShardHook): void {
    this.#arrive.push(hook);
  }

  /** Called after the shard's last call here. */
  onLeave(hook: ShardHook): void {
    this.#leave.push(hook);
  }

  /** Called when a shard is to leave once the calls at work on it have ended: those that only wait should. */
  onFreeze(hook: () => void): void {
    this.#freeze.push(hook);
  }

  /** The agent has sent a shard's segment: it is read at once, whoever writes to it still. */
  offer(shard: number, epoch: number, map: () => SegmentMemory): void {
    this.#withdraw(shard);
    let log: ShardLog | ShoalError;
    try {
      log = this.#open(shard, map);
    } catch (error) {
      log = toShoalError(error);
    }
    this.#offered.set(shard, { epoch, log });
    for (const wake of [...this.#waiting]) wake();
  }

  /** Waits until the segment is here and read. Throws when it does not come or cannot be read. */
  async prepare(shard: number, epoch: number): Promise<void> {
    await this.#offeredLog(shard, epoch);
  }

  /** Begins to serve the shard from the segment that was sent with this epoch, or that is here with it already. */
  async own(shard: number, epoch: number, held: Held = NOTHING_HELD): Promise<void> {
    const before = this.#shards.get(shard);
    if (before?.epoch === epoch && !before.frozen) {
      before.closing = false;
      this.#arrived(shard);
      return;
    }
    const log = await this.#offeredLog(shard, epoch);
    log.own(epoch);
    this.#offered.delete(shard);
    before?.log.close();
    if (before !== undefined) abandon(before, shard);
    const here: Shard = {
      log,
      epoch,
      users: 0,
      closing: true,
      renewing: false,
      intake: undefined,
      frozen: false,
      idle: [],
      held,
      waits: [],
      asked: false,
    };
    this.#shards.set(shard, here);
    this.#next.delete(shard);
    try {
      for (const hook of this.#arrive) await hook(shard);
    } catch (error) {
      if (this.#shards.get(shard) === here) this.drop(shard);
      throw error;
    }
    here.closing = false;
    this.#arrived(shard);
  }

  #arrived(shard: number): void {
    this.#next.delete(shard);
    if (this.#awaited.size === 0) return;
    // The agent hears first that the shard is served: what these calls ask of it next is about a shard that it knows to be here.
    setImmediate(() => {
      for (const wake of [...this.#awaited]) wake();
    });
  }

  /** The instance that has the shard next, once it is about to leave. */
  nextOwner(shard: number): string | undefined {
    return this.serves(shard) ? undefined : this.#next.get(shard);
  }

  /**
   * For a call that was sent here by who had its shards before: resolves when they have come, or have not within so many ms.
   * Undefined when there is nothing to wait for.
   */
  arrival(shards: readonly number[], timeoutMs: number): Promise<void> | undefined {
    const isToCome = (shard: number) => {
      const here = this.#shards.get(shard);
      return here === undefined || (here.closing && !this.#next.has(shard));
    };
    if (!shards.some(isToCome)) return undefined;
    return new Promise((resolve) => {
      const wake = () => {
        if (shards.some(isToCome)) return;
        end();
      };
      const end = () => {
        clearTimeout(timer);
        this.#awaited.delete(wake);
        this.#ends.delete(end);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.#awaited.add(wake);
      this.#ends.add(end);
    });
  }

  /** No shard comes any more. */
  awaitNone(): void {
    for (const end of [...this.#ends]) end();
  }

  /**
   * Waits for calls at work on the shard and refuses new ones. When they do not end in time the shard serves on here: one
   * handler that hangs does not take the shard from everybody. `to`: the instance to which callers are sent from now on.
   */
  async freeze(shard: number, to?: string): Promise<void> {
    const here = this.#get(shard);
    here.closing = true;
    if (to !== undefined) this.#next.set(shard, to);
    for (const hook of this.#freeze) hook();
    if (here.users > 0 && !(await untilIdle(here, this.#freezeMsMax))) {
      here.closing = here.frozen;
      if (!here.frozen) this.#arrived(shard);
      throw new ShoalError('SHOAL_E_DEADLINE', `${here.users} calls work on state shard ${shard} without an end`);
    }
    // Meanwhile the shard may have been given back or dropped.
    if (!here.closing || this.#shards.get(shard) !== here) {
      throw new ShoalError('SHOAL_E_CONFLICT', `state shard ${shard} was owned again or dropped meanwhile`);
    }
    if (here.frozen) return;
    here.frozen = true;
    for (const hook of this.#leave) await hook(shard);
  }

  /**
   * Takes in a part of what is imported into the shard, as ordinary writes; resolves when as many copies hold it as the component
   * asks for. Answers how many entries were removed. Rejects with SHOAL_E_SHARD_MOVED when the shard is not here (any more),
   * SHOAL_E_CONFLICT for a part out of order, and as writes do; the import then begins anew.
   */
  async takeIn({ shard, part, mode, records, last }: WritePart): Promise<number> {
    const leave = this.enter([shard]);
    const here = this.#get(shard);
    let removed: number;
    try {
      if (part === 0) here.intake = new Intake(shard, this.settings?.shards ?? 0, mode);
      const { intake } = here;
      if (intake?.next !== part)
        throw new ShoalError('SHOAL_E_CONFLICT', `part ${part} of an import of state shard ${shard} is out of order`);
      removed = await intake.take(here.log, records, last);
      await this.settled([shard]);
    } catch (error) {
      here.intake = undefined;
      throw error;
    } finally {
      leave();
    }
    if (!last) return removed;
    here.intake = undefined;
    await this.#renew(shard, here);
    return removed;
  }

  /** What a component has derived from the shard it derives anew. Calls are refused meanwhile, and come again. */
  async #renew(shard: number, here: Shard): Promise<void> {
    if (this.#arrive.length === 0 && this.#leave.length === 0) return;
    const isHere = () => this.#shards.get(shard) === here;
    here.renewing = true;
    try {
      if (here.users > 0 && !(await untilIdle(here, this.#freezeMsMax))) {
        throw new ShoalError('SHOAL_E_DEADLINE', `${here.users} calls work on state shard ${shard} without an end`);
      }
      // Who closes it meanwhile waits for this, as for a call.
      here.users += 1;
      try {
        for (const hook of this.#leave) if (isHere()) await hook(shard);
        for (const hook of this.#arrive) if (isHere()) await hook(shard);
      } finally {
        left(here);
      }
    } finally {
      here.renewing = false;
    }
  }

  drop(shard: number): void {
    this.#withdraw(shard);
    const here = this.#shards.get(shard);
    if (here === undefined) return;
    this.#shards.delete(shard);
    abandon(here, shard);
    here.log.close();
  }

  /** `ask`: has the agent say up to where other copies hold the shard's log, once they hold it up to this index. */
  onWait(ask: (shard: number, index: number) => void): void {
    this.#ask = ask;
  }

  /** What has no answer: the agent that was asked may be gone, or the answer. */
  askAgain(): void {
    for (const [shard, here] of this.#shards) {
      here.asked = false;
      this.#askFor(shard, here);
    }
  }

  /** Other copies hold the log up to this index, and nobody else serves the shard until then. */
  isHeld(shard: number, index: number, untilMs: number): void {
    const here = this.#shards.get(shard);
    if (here === undefined) return;
    here.held = { index, untilMs };
    here.asked = false;
    const settled = here.waits.filter((each) => isSettled(here, each.index));
    here.waits = here.waits.filter((each) => !settled.includes(each));
    for (const each of settled) each.settled();
    this.#askFor(shard, here);
  }

  /**
   * To be awaited before a call on the shards is answered: resolves when all that it has written or seen is held by as many
   * copies as the component asks for; undefined when it is so already. Rejects with SHOAL_E_PEER_DIED when it cannot be known
   * whether what it wrote will last.
   */
  settled(shards: readonly number[]): Promise<unknown> | undefined {
    let waits: Promise<void>[] | undefined;
    for (const shard of shards) {
      const here = this.#shards.get(shard);
      if (here === undefined || !here.log.watched) continue;
      const { index } = here.log;
      if (isSettled(here, index)) continue;
      waits ??= [];
      waits.push(new Promise((settled, failed) => here.waits.push({ index, settled, failed })));
      this.#askFor(shard, here);
    }
    return waits === undefined ? undefined : Promise.all(waits);
  }

  #askFor(shard: number, here: Shard): void {
    const first = here.waits[0];
    if (here.asked || first === undefined) return;
    here.asked = true;
    this.#ask(shard, first.index);
  }

  /** A call begins to work on the shards; the function that is answered ends it. Throws SHOAL_E_SHARD_MOVED. */
  enter(shards: readonly number[]): () => void {
    if (shards.length === 0) return NOTHING_TO_LEAVE;
    const missing = shards.filter((shard) => !this.serves(shard));
    if (missing.length > 0) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shards not here: ${missing.join(', ')}`);
    const entered = shards.map((shard) => this.#get(shard));
    for (const shard of entered) shard.users += 1;
    return () => {
      for (const shard of entered) left(shard);
    };
  }

  /** Refused once the shard has been handed over: a write would be lost, and a read would miss the new owner's writes. */
  log(shard: number): ShardLog {
    const here = this.#get(shard);
    if (here.frozen) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shard ${shard} has been handed over`);
    return here.log;
  }

  close(): void {
    this.awaitNone();
    for (const shard of this.held) this.drop(shard);
    for (const shard of [...this.#offered.keys()]) this.#withdraw(shard);
  }

  #get(shard: number): Shard {
    const here = this.#shards.get(shard);
    if (here === undefined) throw new ShoalError('SHOAL_E_SHARD_MOVED', `state shard ${shard} is not here`);
    return here;
  }

  #open(shard: number, map: () => SegmentMemory): ShardLog {
    if (this.settings === null) throw new ShoalError('SHOAL_E_STATE_MODE', 'this component has no state shards');
    const memory = map();
    try {
      return new ShardLog(memory, `state shard ${shard}`, this.settings);
    } catch (error) {
      memory.close();
      throw error;
    }
  }

  #withdraw(shard: number): void {
    const offered = this.#offered.get(shard);
    this.#offered.delete(shard);
    if (offered?.log instanceof ShardLog) offered.log.close();
  }

  async #offeredLog(shard: number, epoch: number): Promise<ShardLog> {
    const here = () => this.#offered.get(shard)?.epoch === epoch;
    if (!here()) await this.#until(here);
    const offered = this.#offered.get(shard);
    if (offered?.epoch !== epoch) {
      throw new ShoalError('SHOAL_E_DEADLINE', `no segment of state shard ${shard} for epoch ${epoch} has come`);
    }
    if (offered.log instanceof ShoalError) throw offered.log;
    return offered.log;
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        if (!condition()) return;
        end();
      };
      const end = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(end, SEGMENT_MS_MAX);
      this.#waiting.add(wake);
    });
  }
}

function isSettled({ held }: Shard, index: number): boolean {
  return held.index >= index && held.untilMs > monotonicMs();
}

function left(here: Shard): void {
  here.users -= 1;
  if (here.users === 0) for (const wake of here.idle.splice(0)) wake();
}

/** Whatever comes next of the shard, nobody can tell here whether the writes of these calls will be in it. */
function abandon(here: Shard, shard: number): void {
  const detail = `state shard ${shard} has gone to another owner before all copies held what the call wrote`;
  for (const each of here.waits.splice(0)) each.failed(new ShoalError('SHOAL_E_PEER_DIED', detail));
}

/** Whether the calls at work on the shard ended in time. */
function untilIdle(shard: Shard, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      shard.idle = shard.idle.filter((each) => each !== wake);
      resolve(false);
    }, timeoutMs);
    const wake = () => {
      clearTimeout(timer);
      resolve(true);
    };
    shard.idle.push(wake);
  });
}
