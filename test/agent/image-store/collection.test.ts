import fc from 'fast-check';
import t from 'tap';
import { removalFor, type Stock } from '../../../agent/image-store/collection.js';

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const some = (prefix: string) => fc.subarray(names(prefix, 6));
const image = fc.record({
  usedMs: fc.nat(100),
  held: fc.boolean(),
  layers: some('layer'),
  documents: some('document'),
  archives: some('archive'),
});
const sizes = (...lists: string[][]) =>
  fc
    .array(fc.nat(100), { minLength: lists.flat().length, maxLength: lists.flat().length })
    .map((bytes) => new Map(lists.flat().map((name, i): [string, number] => [name, bytes[i] ?? 0])));
const stock: fc.Arbitrary<Stock> = fc.record({
  images: fc.array(image, { maxLength: 5 }).map((all) => all.map((each, i) => ({ reference: `image${i}`, ...each }))),
  layers: sizes(names('layer', 6)),
  blobs: sizes(names('document', 6), names('archive', 6)),
});

function left({ layers, blobs }: Stock, removed: { layers: string[]; blobs: string[] }): number {
  const of = (sizes: ReadonlyMap<string, number>, gone: string[]) =>
    [...sizes].reduce((sum, [name, bytes]) => sum + (gone.includes(name) ? 0 : bytes), 0);
  return of(layers, removed.layers) + of(blobs, removed.blobs);
}

t.test(
  'nothing is removed that an image left needs, and the bound is kept unless all that is left is held',
  async () => {
    fc.assert(
      fc.property(stock, fc.nat(1_500), (stock, bytesMax) => {
        const removal = removalFor(stock, bytesMax);
        const kept = stock.images.filter(({ reference }) => !removal.images.includes(reference));
        for (const { held, reference } of stock.images) if (held && removal.images.includes(reference)) return false;
        for (const { layers, documents } of kept) {
          if (layers.some((layer) => removal.layers.includes(layer))) return false;
          if (documents.some((blob) => removal.blobs.includes(blob))) return false;
        }
        const bytes = left(stock, removal);
        if (bytes > bytesMax) return kept.every(({ held }) => held);
        // No more than needed: with nothing removed the store was too big.
        return (
          removal.images.length + removal.layers.length + removal.blobs.length === 0 ||
          left(stock, { layers: [], blobs: [] }) > bytesMax
        );
      }),
    );
  },
);

t.test('first what belongs to no image, then archives, then the image used longest ago', async (t) => {
  const of = (reference: string, usedMs: number, held = false) => ({
    reference,
    usedMs,
    held,
    layers: ['shared', `layer-${reference}`],
    documents: [`document-${reference}`],
    archives: [`archive-${reference}`],
  });
  const stock: Stock = {
    images: [of('old', 1), of('older-but-held', 0, true), of('new', 2)],
    layers: new Map([
      ['shared', 10],
      ['layer-old', 10],
      ['layer-new', 10],
      ['layer-older-but-held', 10],
      ['stray', 10],
    ]),
    blobs: new Map(
      ['old', 'new', 'older-but-held'].flatMap((name) => [
        [`archive-${name}`, 5],
        [`document-${name}`, 1],
      ]),
    ),
  };
  const total = 50 + 3 * 6;
  t.same(removalFor(stock, total), { images: [], layers: [], blobs: [] });
  t.same(removalFor(stock, total - 1), { images: [], layers: ['stray'], blobs: [] });
  t.match(removalFor(stock, total - 11), { images: [], layers: ['stray'], blobs: { length: 1 } });
  t.same(removalFor(stock, total - 27), {
    images: ['old'],
    layers: ['stray', 'layer-old'],
    blobs: ['archive-old', 'archive-new', 'archive-older-but-held', 'document-old'],
  });
  t.same(removalFor(stock, 0).images, ['old', 'new'], 'what is held stays');
});
