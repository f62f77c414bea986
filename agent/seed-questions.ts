import { ShoalError } from '../protocol/errors.js';
import type { Built, Seed } from '../protocol/link.js';
import { isDigest } from './image-store/oci.js';

const ANSWER_MS_MAX = 1_000;
const SEEDS_MAX = 16;
const HOST_LENGTH_MAX = 253;
const NOBODY: Built = { hosts: [] };

/** Questions to the coordinator which hosts have an image, and its answers. */
export class SeedQuestions {
  readonly #open = new Map<number, (answer: Built) => void>();
  #next = 1;

  /** Nobody when there is no answer in time, which is only slower: the registry has the image as well, or it is built here. */
  ask(send: (request: number) => void): Promise<Built> {
    const request = this.#next;
    this.#next += 1;
    return new Promise((resolve) => {
      const settle = (answer: Built) => {
        clearTimeout(timer);
        this.#open.delete(request);
        resolve(answer);
      };
      const timer = setTimeout(() => settle(NOBODY), ANSWER_MS_MAX);
      this.#open.set(request, settle);
      send(request);
    });
  }

  /** Throws SHOAL_E_FRAME when it is no answer. One that is late or to no question is passed over. */
  answered({ request, hosts, manifest, builder }: Partial<Record<'request' | keyof Built, unknown>>): void {
    if (!Array.isArray(hosts) || hosts.length > SEEDS_MAX || !hosts.every(isSeed)) {
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator named hosts of an image that are none');
    }
    if (manifest !== undefined && !isDigest(manifest)) {
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator named an image of a build that is none');
    }
    if (builder !== undefined && !isHost(builder)) {
      throw new ShoalError('SHOAL_E_FRAME', 'the coordinator named a builder that is no host');
    }
    const answer = {
      hosts,
      ...(manifest === undefined ? {} : { manifest }),
      ...(builder === undefined ? {} : { builder }),
    };
    if (typeof request === 'number') this.#open.get(request)?.(answer);
  }
}

function isSeed(value: unknown): value is Seed {
  const { host, address } = (value ?? {}) as Partial<Record<keyof Seed, unknown>>;
  return isHost(host) && isHost(address);
}

function isHost(value: unknown): value is string {
  return typeof value === 'string' && value.length <= HOST_LENGTH_MAX;
}
