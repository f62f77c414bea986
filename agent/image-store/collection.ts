/** What the store holds, as plain data. Images name layers and blobs by digest. */
export interface Stock {
  images: StockImage[];
  layers: ReadonlyMap<string, number>;
  blobs: ReadonlyMap<string, number>;
}

export interface StockImage {
  reference: string;
  usedMs: number;
  /** Whether an instance has it or waits for it. */
  held: boolean;
  layers: readonly string[];
  /** Manifest and configuration, which it cannot be without. */
  documents: readonly string[];
  /** Its layers as they were fetched: of use only to be unpacked, and to be given to others. */
  archives: readonly string[];
}

export interface Removal {
  images: string[];
  layers: string[];
  blobs: string[];
}

/**
 * What to remove so that the store keeps to its bound; nothing while it does. In this order: what belongs to no image,
 * the archives of layers that are unpacked, then images that nobody has, the one used longest ago first, each with what
 * no other image shares. What is held is never removed, so that the bound may still be exceeded. Pure.
 */
export function removalFor(stock: Stock, bytesMax: number): Removal {
  const layers = new Map(stock.layers);
  const blobs = new Map(stock.blobs);
  const removal: Removal = { images: [], layers: [], blobs: [] };
  const excess = () => sum(layers) + sum(blobs) - bytesMax;
  const drop = (from: Map<string, number>, to: string[], keep: ReadonlySet<string>) => {
    for (const digest of [...from.keys()]) {
      if (keep.has(digest) || excess() <= 0) continue;
      from.delete(digest);
      to.push(digest);
    }
  };
  const dropUnused = (images: readonly StockImage[]) => {
    drop(blobs, removal.blobs, new Set(images.flatMap((each) => [...each.documents, ...each.archives])));
    drop(layers, removal.layers, new Set(images.flatMap((each) => each.layers)));
  };

  let kept = [...stock.images].sort((a, b) => b.usedMs - a.usedMs);
  dropUnused(kept);
  drop(blobs, removal.blobs, new Set(kept.flatMap((each) => each.documents)));
  while (excess() > 0) {
    const oldest = kept.findLast((each) => !each.held);
    if (oldest === undefined) break;
    kept = kept.filter((each) => each !== oldest);
    removal.images.push(oldest.reference);
    dropUnused(kept);
  }
  return removal;
}

function sum(sizes: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const bytes of sizes.values()) total += bytes;
  return total;
}
