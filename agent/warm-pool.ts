import { randomBytes } from 'node:crypto';
import type { Desired, DesiredInstance, DesiredWarm, WarmProcesses } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';
import { componentsOf } from './desired.js';
import { Instance, type InstanceTools } from './instance.js';

/** So long no process is made again of what did not wait: the host may just have been slow. */
const USELESS_MS = 3_600_000;

/**
 * Processes that were started ahead of need: each in a container of its own, with everything loaded that does not depend
 * on which instance it is, waiting to be told. One becomes one instance, so that no two ever share a secret, a file
 * descriptor or the state of a random-number generator.
 */
export class WarmPool {
  readonly #tools: InstanceTools;
  readonly #waiting = new Map<string, Instance>();
  /** What was made of a component whose process does not wait, and when that was seen. */
  readonly #useless = new Map<string, number>();

  constructor(tools: InstanceTools) {
    this.#tools = tools;
  }

  get all(): Instance[] {
    return [...this.#waiting.values()];
  }

  /** Takes over what an earlier agent has left, to end it: that agent may have told it which instance it is. */
  async end(left: Instance): Promise<void> {
    this.#waiting.set(left.body, left);
    await left.adopt();
    await left.terminate();
  }

  /** A process that waits and is of just this description; it is not the pool's any more. */
  take({ app, component }: DesiredInstance, made: Component): Instance | undefined {
    const found = this.all.find((each) => each.waiting && isOf(each, app, component, made));
    if (found !== undefined) this.#waiting.delete(found.body);
    return found;
  }

  /** What waits, and the memory that it takes, by component. */
  async cost(): Promise<WarmProcesses[]> {
    const found = new Map<string, WarmProcesses>();
    for (const each of this.all.filter(({ waiting }) => waiting)) {
      const { app, component } = each;
      const row = found.get(`${app}/${component}`) ?? { app, component, waiting: 0, memoryBytes: 0 };
      row.waiting += 1;
      row.memoryBytes += (await each.cgroup.usage()).memoryBytes;
      found.set(`${app}/${component}`, row);
    }
    return [...found.values()];
  }

  /** Whether it was one of the pool that is gone. */
  forget(instance: Instance): boolean {
    return this.#waiting.delete(instance.body);
  }

  /**
   * Ends what is no longer wanted; starts what is missing when nothing more urgent starts, one at a time. One that takes long
   * to wait, or ends again and again, holds up those of its own component alone. Answers whether something is missing that
   * may start in a while although nothing changes.
   */
  async sync(desired: Desired, mayStart: boolean, freeSlot: () => number | null): Promise<boolean> {
    const wanted = desired.warm ?? [];
    for (const instance of this.all) {
      if (instance.phase === 'failed') this.#useless.set(JSON.stringify(instance.made), this.#tools.clock());
      if (instance.stopping || this.#isWanted(instance, desired, wanted)) continue;
      await instance.terminate();
    }
    for (const { app, component, count, size } of wanted) {
      const made = componentsOf(desired, app)[component];
      const there = this.all.filter((each) => each.app === app && each.component === component);
      if (made === undefined || there.length >= count || this.#isUseless(made)) continue;
      if (there.some(({ waiting }) => !waiting)) continue;
      if (!mayStart || this.all.some(({ isNewStart }) => isNewStart)) return true;
      const slot = freeSlot();
      if (slot === null) return false;
      const body = `${app}-${component}-w${randomBytes(4).toString('hex')}`;
      const record = { format: 1, id: body, body, warm: true, app, component, made, slot, size } as const;
      const instance = new Instance(this.#tools, { ...record, restarts: 0, ready: false, startMs: null });
      this.#waiting.set(body, instance);
      void instance.start();
      // What else is missing is looked at when this one waits, or is no new start any more.
      return true;
    }
    return false;
  }

  #isUseless(made: Component): boolean {
    const text = JSON.stringify(made);
    const sinceMs = this.#useless.get(text);
    if (sinceMs === undefined) return false;
    const isStill = this.#tools.clock() - sinceMs < USELESS_MS;
    if (!isStill) this.#useless.delete(text);
    return isStill;
  }

  #isWanted(instance: Instance, desired: Desired, wanted: readonly DesiredWarm[]): boolean {
    const { app, component } = instance;
    const made = componentsOf(desired, app)[component];
    const count = wanted.find((each) => each.app === app && each.component === component)?.count ?? 0;
    const before = this.all.filter((each) => each.app === app && each.component === component).indexOf(instance);
    return instance.phase !== 'failed' && made !== undefined && isOf(instance, app, component, made) && before < count;
  }
}

function isOf(instance: Instance, app: string, component: string, made: Component): boolean {
  const same = instance.app === app && instance.component === component;
  return same && JSON.stringify(instance.made) === JSON.stringify(made);
}
