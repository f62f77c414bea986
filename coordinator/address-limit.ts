import { isIPv6 } from 'node:net';
import { TokenBucket } from '../protocol/token-bucket.js';

/** So many a second, and so many at once after a pause. */
export interface Rate {
  perSecond: number;
  burst: number;
}

export interface AddressRates {
  perAddress: Rate;
  /** Of all addresses together. */
  inAll: Rate;
}

/** Who asked longest ago is forgotten first. */
const ADDRESSES_MAX = 4_096;

/** Bounds a rate for each address, and for all of them together. */
export class AddressLimit {
  readonly #perAddress: Rate;
  readonly #clock: () => number;
  readonly #all: TokenBucket;
  /** The one that asked last is last. */
  readonly #addresses = new Map<string, TokenBucket>();

  /** `clock`: ms, only forward. */
  constructor({ perAddress, inAll }: AddressRates, clock: () => number = () => performance.now()) {
    this.#perAddress = perAddress;
    this.#clock = clock;
    this.#all = new TokenBucket(inAll.perSecond, inAll.burst, clock);
  }

  /** How many addresses are known. */
  get size(): number {
    return this.#addresses.size;
  }

  /** 0 when the address may now, which then counts; else after how many ms it may. */
  take(address: string): number {
    const bucket = this.#bucketOf(networkOf(address));
    const waitMs = Math.max(bucket.debtMs(), this.#all.debtMs());
    if (waitMs > 0) return waitMs;
    bucket.take(1);
    this.#all.take(1);
    return 0;
  }

  #bucketOf(network: string): TokenBucket {
    const { perSecond, burst } = this.#perAddress;
    const bucket = this.#addresses.get(network) ?? new TokenBucket(perSecond, burst, this.#clock);
    this.#addresses.delete(network);
    this.#addresses.set(network, bucket);
    const [oldest] = this.#addresses.keys();
    if (this.#addresses.size > ADDRESSES_MAX && oldest !== undefined) this.#addresses.delete(oldest);
    return bucket;
  }
}

/** Whoever has an IPv6 address has a whole /64 of them (RFC 4291, section 2.5.4). */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  return [...before, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4).join(':');
}
