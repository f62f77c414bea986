import { isIPv6 } from 'node:net';
import { TokenBucket } from '../../protocol/token-bucket.js';

/** What one address may ask, and all of them together: requests a second, and how many at once after a pause. */
const PER_ADDRESS = { perSecond: 1, burst: 30 };
const IN_ALL = { perSecond: 10, burst: 200 };
/** Who asked longest ago is forgotten first. */
const ADDRESSES_MAX = 4_096;

/**
 * Bounds what those may ask who show no token of the API: joining, renewing, and the authority's certificate. They make the
 * coordinator hash, verify and start openssl, and could guess without an end.
 */
export class StrangerLimit {
  readonly #clock: () => number;
  readonly #all: TokenBucket;
  /** The one that asked last is last. */
  readonly #addresses = new Map<string, TokenBucket>();

  /** `clock`: ms, only forward. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
    this.#all = new TokenBucket(IN_ALL.perSecond, IN_ALL.burst, clock);
  }

  /** How many addresses are known. */
  get size(): number {
    return this.#addresses.size;
  }

  /** 0 when it may be asked, which then counts; else after how many ms it may. */
  take(address: string): number {
    const bucket = this.#bucketOf(networkOf(address));
    const waitMs = Math.max(bucket.debtMs(), this.#all.debtMs());
    if (waitMs > 0) return waitMs;
    bucket.take(1);
    this.#all.take(1);
    return 0;
  }

  #bucketOf(network: string): TokenBucket {
    const bucket =
      this.#addresses.get(network) ?? new TokenBucket(PER_ADDRESS.perSecond, PER_ADDRESS.burst, this.#clock);
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
