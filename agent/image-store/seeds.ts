import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { Built, Seed } from '../../protocol/link.js';
import { receiveBlob } from './blob-link.js';
import type { StoreDisk } from './disk.js';
import type { Digest } from './oci.js';

/** How blobs of images are had from other hosts. */
export interface SeedSource {
  /** Hosts that have the image, in the order in which they should be asked; of a build also which image that is. */
  hostsWith(image: string): Promise<Built>;
  /** A connection with the agent of that host, and of no other. */
  dial(seed: Seed): Socket;
}

/** What becomes of questions for blobs. */
export interface SeedNews {
  came(digest: Digest, host: string, bytes: number): void;
  /** It came wrong, too slowly or not to its end. */
  failed(): void;
}

export interface SeedsOptions {
  source: Pick<SeedSource, 'dial'>;
  disk: StoreDisk;
  log: Logger;
  news: SeedNews;
  /** Blobs that are on their way to this host for any image: each comes once. */
  coming: Map<Digest, Promise<boolean>>;
}

/** The hosts that have one image. One that fails, lies or is slow is asked for nothing more of it. */
export class Seeds {
  readonly #source: Pick<SeedSource, 'dial'>;
  readonly #disk: StoreDisk;
  readonly #log: Logger;
  readonly #news: SeedNews;
  readonly #coming: Map<Digest, Promise<boolean>>;
  #hosts: readonly Seed[];

  constructor(hosts: readonly Seed[], { source, disk, log, news, coming }: SeedsOptions) {
    this.#source = source;
    this.#hosts = hosts;
    this.#disk = disk;
    this.#log = log;
    this.#news = news;
    this.#coming = coming;
  }

  /** Brings the blob into the store; false when none of them gives it. */
  async bring(digest: Digest, bytesMax: number): Promise<boolean> {
    // What the hosts of another image did not give, these may.
    for (let other = this.#coming.get(digest); other !== undefined; other = this.#coming.get(digest)) {
      await other.catch(() => false);
    }
    const bringing = this.#bringAlone(digest, bytesMax);
    this.#coming.set(digest, bringing);
    try {
      return await bringing;
    } finally {
      this.#coming.delete(digest);
    }
  }

  async #bringAlone(digest: Digest, bytesMax: number): Promise<boolean> {
    if (await this.#disk.hasBlob(digest)) return true;
    for (const seed of this.#hosts) {
      if (await this.#bringFrom(seed, digest, bytesMax)) return true;
    }
    return false;
  }

  async #bringFrom(seed: Seed, digest: Digest, bytesMax: number): Promise<boolean> {
    const folder = await this.#disk.makePartial();
    const path = join(folder, 'blob');
    try {
      const bytes = await receiveBlob(() => this.#source.dial(seed), { digest, bytesMax, path });
      await this.#disk.placeBlob(path, digest);
      this.#news.came(digest, seed.host, bytes);
      return true;
    } catch (error) {
      const { code, message: detail } = toShoalError(error);
      if (code !== 'SHOAL_E_NOT_FOUND') {
        this.#log.warn({ host: seed.host, digest, detail }, 'a blob could not be had from another host');
        this.#news.failed();
        this.#hosts = this.#hosts.filter((each) => each !== seed);
      }
      // Of this host itself, such as a full disk: that of a registry would fail as well.
      if (!(error instanceof ShoalError)) throw error;
      return false;
    } finally {
      await this.#disk.removePartial(folder);
    }
  }
}
