import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../protocol/errors.js';
import type { ShardMap } from '../protocol/link.js';
import { type HandoverStep, type Holder, planHandover, planShard } from './handover-plan.js';
import type { Instance } from './instance.js';
import type { Segments } from './segments.js';

/** Shards that are on their way at once, for each component: enough to be quick, few enough to keep the rest serving. */
const MOVES_MAX = 1;
/** Shards that nobody serves yet and that are being owned at once. */
const OWNS_MAX = 32;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 10_000;

/** The segment of a shard, in the hands of a process that does not own it yet. */
interface SentAhead {
  id: string;
  /** Of the instance: it is of one process. */
  restarts: number;
  /** Another number means another file. */
  file: number;
  epoch: number;
}

export interface HandoverEvents {
  /** The routes have to follow what the instances hold now. */
  changed(): void;
  note(instance: Instance, kind: string, message: string): void;
  /** A number that rises when the shard's segment is another file than before; 0: the one that this agent has found. */
  fileOf(shard: number): number;
  /** Up to where other copies hold the shard, and until when nobody else serves it; null: not known. */
  heldOf(shard: number): { index: number; untilMs: number } | null;
}

/** Brings the state shards of one component to the instances that shall own them. */
export class Handover {
  readonly #log: Logger;
  readonly #events: HandoverEvents;
  /** `app/component`. */
  readonly #key: string;
  readonly #segments: Segments;
  readonly #busy = new Map<number, HandoverStep>();
  /** By shard: who has been sent it ahead of time. */
  readonly #sent = new Map<number, SentAhead>();
  #retry: NodeJS.Timeout | undefined;
  #retryMs = RETRY_MS_MIN;

  constructor(log: Logger, key: string, segments: Segments, events: HandoverEvents) {
    this.#log = log;
    this.#key = key;
    this.#segments = segments;
    this.#events = events;
  }

  /**
   * Starts the steps that are due; called again whenever something has changed. `map`: who shall own what; `here`: the same for
   * shards that may be served on this host now; `waiting`: copies that are here and may be so soon, by the file they are in.
   */
  run(map: ShardMap, here: ShardMap, instances: readonly Instance[], waiting: ReadonlyMap<number, number>): void {
    const byId = new Map(instances.map((each) => [each.id, each]));
    this.#begin(
      planHandover(here, instances.map(holderOf), (shard) => this.#isNew(shard)),
      byId,
    );
    for (const [shard, file] of waiting) this.wait(shard, file, map, instances);
  }

  /** A copy of the shard is here, in this file, and may be served soon. */
  wait(shard: number, file: number, { owners }: ShardMap, instances: readonly Instance[]): void {
    const target = instances.find(({ id }) => id === owners[shard]);
    if (target !== undefined && !this.#busy.has(shard)) this.#sendAhead(shard, file, target);
  }

  /** The step for one shard, which `owner` is to serve; null: nobody here. */
  look(shard: number, owner: string | null, instances: readonly Instance[]): void {
    const steps = planShard(shard, owner, instances.map(holderOf), this.#isNew(shard));
    this.#begin(steps, new Map(instances.map((each) => [each.id, each])));
  }

  /** Files are counted from when the agent began. */
  #isNew(shard: number): boolean {
    return this.#events.fileOf(shard) > 0;
  }

  #begin(steps: readonly HandoverStep[], byId: ReadonlyMap<string, Instance>): void {
    for (const step of steps) {
      if (this.#busy.has(step.shard) || this.#isFull(step.kind)) continue;
      this.#busy.set(step.shard, step);
      void this.#take(step, byId);
    }
  }

  /** Who will own the shard reads it meanwhile. */
  #sendAhead(shard: number, file: number, target: Instance): void {
    const sent = this.#sent.get(shard);
    const { id, restarts } = target.status();
    if (sent?.id === id && sent.file === file && sent.restarts === restarts) return;
    if (!target.control.connected || !target.channels.connected) return;
    try {
      this.#sent.set(shard, { id, restarts, file, epoch: this.#send(shard, target) });
    } catch (error) {
      // It is sent once more when it is to be owned.
      this.#log.debug({ shard, err: error }, 'a state shard could not be sent ahead');
    }
  }

  #isFull(kind: HandoverStep['kind']): boolean {
    const alike = [...this.#busy.values()].filter((each) => (each.kind === 'own') === (kind === 'own')).length;
    return alike >= (kind === 'own' ? OWNS_MAX : MOVES_MAX);
  }

  stop(): void {
    clearTimeout(this.#retry);
  }

  async #take(step: HandoverStep, byId: ReadonlyMap<string, Instance>): Promise<void> {
    const source = step.kind === 'own' ? undefined : byId.get(step.from);
    const target = step.kind === 'drop' ? undefined : byId.get(step.to);
    try {
      if (step.kind === 'own') await this.#own(step.shard, target);
      else if (step.kind === 'drop') await lose(source, step.shard);
      else await this.#move(step.shard, source, target);
      this.#busy.delete(step.shard);
      this.#retryMs = RETRY_MS_MIN;
      this.#events.changed();
    } catch (error) {
      this.#busy.delete(step.shard);
      const { message } = toShoalError(error);
      this.#log.warn({ step, err: error }, 'a state shard could not be handed over; trying again');
      const told = source ?? target;
      if (told !== undefined) this.#events.note(told, 'handover-failed', `state shard ${step.shard}: ${message}`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#events.changed(), this.#retryMs);
      this.#retryMs = Math.min(RETRY_MS_MAX, 2 * this.#retryMs);
    }
  }

  async #own(shard: number, target: Instance | undefined): Promise<void> {
    if (target === undefined) return;
    await this.#tellOwner(target, shard, this.#sentAhead(shard, target) ?? this.#send(shard, target));
  }

  /**
   * The new owner reads the segment while the old one still serves; between freeze and own it only takes in what was
   * written since.
   */
  async #move(shard: number, source: Instance | undefined, target: Instance | undefined): Promise<void> {
    if (source === undefined || target === undefined) return;
    const epoch = this.#send(shard, target);
    await target.control.command({ type: 'shard-prepare', shard, epoch });
    await freeze(source, shard, target.id);
    await this.#tellOwner(target, shard, epoch);
    // Callers learn of the new owner before the old one forgets; whoever asks the old one meanwhile is told to ask again.
    this.#events.changed();
    await lose(source, shard);
  }

  async #tellOwner({ control }: Instance, shard: number, epoch: number): Promise<void> {
    const held = this.#events.heldOf(shard);
    await control.command({ type: 'shard-own', shard, epoch, ...(held === null ? {} : { held }) });
    // What the process answered is known before its next stats come.
    control.shards = [...new Set([...(control.shards ?? []), shard])];
    control.frozen = control.frozen.filter((each) => each !== shard);
  }

  /** The epoch with which the process has been sent the shard's segment, as it is now; null when it has not. */
  #sentAhead(shard: number, target: Instance): number | null {
    const sent = this.#sent.get(shard);
    this.#sent.delete(shard);
    const { id, restarts } = target.status();
    const isSame = sent?.id === id && sent.restarts === restarts && sent.file === this.#events.fileOf(shard);
    return isSame && sent.epoch === this.#segments.nextEpoch(this.#key, shard) ? sent.epoch : null;
  }

  /** Hands the shard's segment to its next owner; the epoch that it is to own it with. */
  #send(shard: number, { id, channels }: Instance): number {
    const { fd, epoch } = this.#segments.grant(this.#key, shard);
    if (channels.send({ type: 'segment', shard, epoch }, [fd])) return epoch;
    throw new ShoalError('SHOAL_E_UNREACHABLE', `${id} takes no shared memory: its SDK has not asked for any yet`);
  }
}

/** Waits until the calls at work on the shard have ended; others go to the instance `to`. Rejects when they do not. */
export async function freeze({ control }: Instance, shard: number, to: string | null): Promise<void> {
  await control.command({ type: 'shard-freeze', shard, ...(to === null ? {} : { to }) });
  control.frozen = [...new Set([...control.frozen, shard])];
}

/** Takes the shard from the instance. */
export async function lose(source: Instance | undefined, shard: number): Promise<void> {
  if (source === undefined) return;
  await source.control.command({ type: 'shard-drop', shard });
  source.control.shards = (source.control.shards ?? []).filter((each) => each !== shard);
  source.control.frozen = source.control.frozen.filter((each) => each !== shard);
}

/**
 * Who is not ready yet may have hooks to set for what comes. One with replicated state sets none, and the owner is to be ready
 * only when it has the entries.
 */
function mayHold({ phase, made }: Instance): boolean {
  return phase === 'ready' || phase === 'draining' || (phase === 'starting' && made.state === 'replicated');
}

function holderOf(instance: Instance): Holder {
  const { control } = instance;
  return {
    id: instance.id,
    connected: control.connected && mayHold(instance),
    reachable: instance.channels.connected,
    unknown: instance.running && control.shards === null && instance.phase !== 'starting',
    shards: control.shards ?? [],
    frozen: control.frozen,
  };
}
