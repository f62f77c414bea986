import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ShoalError, toShoalError } from '../../protocol/errors.js';
import type { Seed } from '../../protocol/link.js';
import { receiveBlob } from './blob-link.js';
import type { StoreDisk } from './disk.js';
import type { Digest } from './oci.js';

/** How blobs of images are had from other hosts. */
export interface SeedSource {
  /** Hosts that run something of the image, in the order in which they should be asked. */
  hostsWith(image: string): Promise<Seed[]>;
  /** A connection with the agent of that host, and of no other. */
  dial(seed: Seed): Socket;
}

/** The hosts that have one image. One that fails, lies or is slow is asked for nothing more of it. */
export class Seeds {
  readonly #source: SeedSource;
  readonly #disk: StoreDisk;
  readonly #log: Logger;
  #hosts: readonly Seed[];
  #blobs = 0;

  constructor(source: SeedSource, hosts: readonly Seed[], disk: StoreDisk, log: Logger) {
    this.#source = source;
    this.#hosts = hosts;
    this.#disk = disk;
    this.#log = log;
  }

  /** How many blobs came from them. */
  get blobs(): number {
    return this.#blobs;
  }

  /** Brings the blob into the store; false when none of them gives it. */
  async bring(digest: Digest, bytesMax: number): Promise<boolean> {
    if (await this.#disk.hasBlob(digest)) return true;
    for (const seed of this.#hosts) {
      if (!(await this.#bringFrom(seed, digest, bytesMax))) continue;
      this.#blobs += 1;
      return true;
    }
    return false;
  }

  async #bringFrom(seed: Seed, digest: Digest, bytesMax: number): Promise<boolean> {
    const folder = await this.#disk.makePartial();
    const path = join(folder, 'blob');
    try {
      await receiveBlob(() => this.#source.dial(seed), { digest, bytesMax, path });
      await this.#disk.placeBlob(path, digest);
      return true;
    } catch (error) {
      const { code, message: detail } = toShoalError(error);
      if (code !== 'SHOAL_E_NOT_FOUND') {
        this.#log.warn({ host: seed.host, digest, detail }, 'a blob could not be had from another host');
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
