import type { BlobCount, ImageFigures } from '../../protocol/link.js';

const NONE: BlobCount = { blobs: 0, bytes: 0 };

/** Counts where the blobs of this host's images came from and went. */
export class ImageCounts {
  #figures: ImageFigures = { fromHosts: NONE, fromSources: NONE, given: NONE, refused: 0, failed: 0 };

  /** Another object whenever something is counted. */
  get figures(): ImageFigures {
    return this.#figures;
  }

  add(way: 'fromHosts' | 'fromSources' | 'given', bytes: number): void {
    const { [way]: before } = this.#figures;
    this.#figures = { ...this.#figures, [way]: { blobs: before.blobs + 1, bytes: before.bytes + bytes } };
  }

  note(what: 'refused' | 'failed'): void {
    this.#figures = { ...this.#figures, [what]: this.#figures[what] + 1 };
  }
}
