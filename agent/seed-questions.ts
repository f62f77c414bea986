import { ShoalError } from '../protocol/errors.js';
import type { Seed } from '../protocol/link.js';

const ANSWER_MS_MAX = 1_000;
const SEEDS_MAX = 16;
const HOST_LENGTH_MAX = 253;

/** Questions to the coordinator which hosts have an image, and its answers. */
export class SeedQuestions {
  readonly #open = new Map<number, (hosts: Seed[]) => void>();
  #next = 1;

  /** None when there is no answer in time, which is only slower: the registry has the image as well. */
  ask(send: (request: number) => void): Promise<Seed[]> {
    const request = this.#next;
    this.#next += 1;
    return new Promise((resolve) => {
      const settle = (hosts: Seed[]) => {
        clearTimeout(timer);
        this.#open.delete(request);
        resolve(hosts);
      };
      const timer = setTimeout(() => settle([]), ANSWER_MS_MAX);
      this.#open.set(request, settle);
      send(request);
    });
  }

  /** Throws SHOAL_E_FRAME when it is no answer. One that is late or to no question is passed over. */
  answered({ request, hosts }: { request: unknown; hosts: unknown }): void {
    if (!Array.isArray(hosts) || hosts.length > SEEDS_MAX || !hosts.every(isSeed)) {
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator named hosts of an image that are none');
    }
    if (typeof request === 'number') this.#open.get(request)?.(hosts);
  }
}

function isSeed(value: unknown): value is Seed {
  const { host, address } = (value ?? {}) as Partial<Record<keyof Seed, unknown>>;
  return [host, address].every((each) => typeof each === 'string' && each.length <= HOST_LENGTH_MAX);
}
