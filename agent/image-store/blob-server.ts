import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { toShoalError } from '../../protocol/errors.js';
import { refuseBlob, sendBlob } from './blob-link.js';
import type { StoreDisk } from './disk.js';
import type { Digest } from './oci.js';

/** More at once would make all of them slow; who is refused asks another host, or the registry. */
const AT_ONCE_MAX = 8;

/** Gives blobs of this host's store to the agents of others. */
export class BlobServer {
  readonly #disk: StoreDisk;
  readonly #log: Logger;
  #underWay = 0;

  constructor(disk: StoreDisk, log: Logger) {
    this.#disk = disk;
    this.#log = log;
  }

  /** Answers on the socket and ends it. `from`: who asks; null: not proven. */
  give(socket: Socket, digest: Digest, from: string | null): void {
    void this.#give(socket, digest).catch((error: unknown) => {
      socket.destroy();
      this.#log.warn({ host: from, digest, detail: toShoalError(error).message }, 'a blob was not sent to its end');
    });
  }

  async #give(socket: Socket, digest: Digest): Promise<void> {
    if (this.#underWay >= AT_ONCE_MAX) return refuseBlob(socket, `${AT_ONCE_MAX} blobs are being sent already`);
    this.#underWay += 1;
    try {
      // Once open it is sent to its end, whatever is removed meanwhile.
      if (await this.#disk.hasBlob(digest)) await sendBlob(socket, this.#disk.blob(digest));
      else refuseBlob(socket, 'it is not in the store of this host');
    } finally {
      this.#underWay -= 1;
    }
  }
}
