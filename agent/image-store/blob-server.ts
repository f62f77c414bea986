import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { toShoalError } from '../../protocol/errors.js';
import { TokenBucket } from '../../protocol/token-bucket.js';
import { BYTES_PER_SECOND_MIN, PIECE_BYTES, refuseBlob, sendBlob } from './blob-link.js';
import type { ImageCounts } from './counts.js';
import type { StoreDisk } from './disk.js';
import type { Digest } from './oci.js';

/** More at once would make all of them slow; who is refused asks another host, or the registry. */
const AT_ONCE_MAX = 8;
/** What each gets at least, so that who fetches does not take this host for a slow one. */
const SHARE_BYTES_PER_SECOND = 2 * BYTES_PER_SECOND_MIN;
/** What may pass at once of what may pass in a second: timers are late on a busy host. */
const BURST_SHARE = 0.1;

/** How many blobs are given at once by a host that may give so much in a second. Pure. */
export function givenAtOnce(bytesPerSecond: number): number {
  return Math.max(1, Math.min(AT_ONCE_MAX, Math.floor(bytesPerSecond / SHARE_BYTES_PER_SECOND)));
}

export interface BlobServerOptions {
  disk: StoreDisk;
  /** Of all that is given together. */
  bytesPerSecond: number;
  counts: Pick<ImageCounts, 'add' | 'note'>;
  log: Logger;
}

/** Gives blobs of this host's store to the agents of others, so much in a second and so many at once. */
export class BlobServer {
  readonly #options: BlobServerOptions;
  readonly #atOnce: number;
  readonly #bucket: TokenBucket;
  #underWay = 0;

  constructor(options: BlobServerOptions) {
    const { bytesPerSecond } = options;
    this.#options = options;
    this.#atOnce = givenAtOnce(bytesPerSecond);
    this.#bucket = new TokenBucket(bytesPerSecond, Math.max(PIECE_BYTES, bytesPerSecond * BURST_SHARE));
  }

  /** Answers on the socket and ends it. `from`: who asks; null: not proven. */
  give(socket: Socket, digest: Digest, from: string | null): void {
    void this.#give(socket, digest).catch((error: unknown) => {
      socket.destroy();
      const { message: detail } = toShoalError(error);
      this.#options.log.warn({ host: from, digest, detail }, 'a blob was not sent to its end');
    });
  }

  async #give(socket: Socket, digest: Digest): Promise<void> {
    const { disk, counts } = this.#options;
    if (this.#underWay >= this.#atOnce) {
      counts.note('refused');
      return refuseBlob(socket, `${this.#atOnce} blobs are being sent already`);
    }
    this.#underWay += 1;
    try {
      if (!(await disk.hasBlob(digest))) return refuseBlob(socket, 'it is not in the store of this host');
      // Once open it is sent to its end, whatever is removed meanwhile.
      const sent = await sendBlob(socket, disk.blob(digest), (bytes) => this.#pace(bytes));
      if (sent.digest === digest) counts.add('given', sent.bytes);
      else await this.#removeDamaged(digest);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** What is taken now is waited off before the next piece, by all that are under way. */
  async #pace(bytes: number): Promise<void> {
    this.#bucket.take(bytes);
    const ms = this.#bucket.debtMs();
    if (ms > 0) await setTimeout(ms);
  }

  /** By a power cut, say. Nobody would take it, here or elsewhere; who needs it here fetches it anew. */
  async #removeDamaged(digest: Digest): Promise<void> {
    const { disk, log } = this.#options;
    log.warn({ digest }, 'a blob of the store is damaged and was removed');
    await disk.removeBlob(digest);
  }
}
