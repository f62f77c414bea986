import type { Digest } from './oci.js';

const KIBI = 1024;
const MEBI = 1024 ** 2;

/** The blobs that came for one image, and from where. Pure. */
export class Fetched {
  readonly #blobs = new Map<Digest, { from: string; bytes: number }>();

  /** `from`: a host, or what else is to be told to people. */
  note(digest: Digest, from: string, bytes: number): void {
    this.#blobs.set(digest, { from, bytes });
  }

  /** Such as `3 layers, 2 from h2, 1 from the registry, 41 MiB in 1.2 s`; null when nothing came. */
  text(layers: readonly Digest[], ms: number): string | null {
    if (this.#blobs.size === 0) return null;
    const distinct = [...new Set(layers)];
    const counts = new Map<string, number>();
    for (const layer of distinct) {
      const from = this.#blobs.get(layer)?.from ?? null;
      const words = from === null ? 'here already' : `from ${from}`;
      counts.set(words, (counts.get(words) ?? 0) + 1);
    }
    const bytes = [...this.#blobs.values()].reduce((sum, each) => sum + each.bytes, 0);
    const parts = [...counts].map(([words, count]) => `${count} ${words}`);
    const many = `${distinct.length} layer${distinct.length === 1 ? '' : 's'}`;
    return `${[many, ...parts, bytesText(bytes)].join(', ')} in ${(ms / 1_000).toFixed(1)} s`;
  }
}

function bytesText(bytes: number): string {
  return bytes < MEBI ? `${Math.ceil(bytes / KIBI)} KiB` : `${Math.round(bytes / MEBI)} MiB`;
}
