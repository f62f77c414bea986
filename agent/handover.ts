import type { Logger } from 'pino';
import { toShoalError } from '../protocol/errors.js';
import type { ShardMap } from '../protocol/link.js';
import { type HandoverStep, type Holder, planHandover } from './handover-plan.js';
import type { Instance } from './instance.js';

/** Shards that are on their way at once, for each component: enough to be quick, few enough to keep the rest serving. */
const IN_FLIGHT_MAX = 4;
const RETRY_MS = 250;

export interface HandoverEvents {
  /** The routes have to follow what the instances hold now. */
  changed(): void;
  note(instance: Instance, kind: string, message: string): void;
}

/** Brings the state shards of one component to the instances that shall own them. */
export class Handover {
  readonly #log: Logger;
  readonly #events: HandoverEvents;
  readonly #busy = new Set<number>();
  #retry: NodeJS.Timeout | undefined;

  constructor(log: Logger, events: HandoverEvents) {
    this.#log = log;
    this.#events = events;
  }

  /** Starts the steps that are due; called again whenever something has changed. */
  run(map: ShardMap, instances: readonly Instance[]): void {
    const byId = new Map(instances.map((each) => [each.id, each]));
    for (const step of planHandover(map, instances.map(holderOf))) {
      if (this.#busy.size >= IN_FLIGHT_MAX) return;
      if (this.#busy.has(step.shard)) continue;
      this.#busy.add(step.shard);
      void this.#take(step, byId);
    }
  }

  stop(): void {
    clearTimeout(this.#retry);
  }

  async #take(step: HandoverStep, byId: ReadonlyMap<string, Instance>): Promise<void> {
    const source = step.kind === 'own' ? undefined : byId.get(step.from);
    const target = step.kind === 'drop' ? undefined : byId.get(step.to);
    try {
      if (step.kind === 'own') await gain(target, 'shard-own', step.shard);
      else if (step.kind === 'drop') await lose(source, step.shard);
      else await this.#move(step.shard, source, target);
      this.#busy.delete(step.shard);
      this.#events.changed();
    } catch (error) {
      this.#busy.delete(step.shard);
      const { message } = toShoalError(error);
      this.#log.warn({ step, err: error }, 'a state shard could not be handed over; trying again');
      if (source !== undefined) this.#events.note(source, 'handover-failed', `state shard ${step.shard}: ${message}`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#events.changed(), RETRY_MS);
    }
  }

  async #move(shard: number, source: Instance | undefined, target: Instance | undefined): Promise<void> {
    if (source === undefined || target === undefined) return;
    const entries = await source.control.command('shard-freeze', shard);
    source.control.frozen = [...new Set([...source.control.frozen, shard])];
    await gain(target, 'shard-install', shard, entries);
    // Callers learn of the new owner before the old one forgets; whoever asks the old one meanwhile is told to ask again.
    this.#events.changed();
    await lose(source, shard);
  }
}

async function gain(
  target: Instance | undefined,
  type: 'shard-own' | 'shard-install',
  shard: number,
  entries: [string, unknown][] = [],
): Promise<void> {
  if (target === undefined) return;
  await target.control.command(type, shard, entries);
  // What the process answered is known before its next stats come.
  target.control.shards = [...new Set([...(target.control.shards ?? []), shard])];
  target.control.frozen = target.control.frozen.filter((each) => each !== shard);
}

async function lose(source: Instance | undefined, shard: number): Promise<void> {
  if (source === undefined) return;
  await source.control.command('shard-drop', shard);
  source.control.shards = (source.control.shards ?? []).filter((each) => each !== shard);
  source.control.frozen = source.control.frozen.filter((each) => each !== shard);
}

function holderOf(instance: Instance): Holder {
  const { control } = instance;
  return {
    id: instance.id,
    connected: control.connected && (instance.phase === 'ready' || instance.phase === 'draining'),
    unknown: instance.running && control.shards === null && instance.phase !== 'starting',
    shards: control.shards ?? [],
    frozen: control.frozen,
  };
}
