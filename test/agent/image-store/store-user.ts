import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { ImageCounts } from '../../../agent/image-store/counts.js';
import { ImageStore } from '../../../agent/image-store/store.js';
import { native } from '../../../native/index.js';

/**
 * A programme that uses an image store as an agent does, to be run in a mount namespace of its own and to be killed:
 * FOLDER BYTES REFERENCE…. Gets all at once for two holders each, prints what they contain, releases them, and removes
 * what exceeds the bound.
 */
const [folder = '', bytes = '', ...references] = process.argv.slice(2);
const mounts = join(folder, 'mounts');
mkdirSync(mounts, { recursive: true });
const points = async () => {
  mkdirSync(join(folder, 'points/proc'), { recursive: true });
  return join(folder, 'points');
};
const store = new ImageStore({
  folder: join(folder, 'store'),
  mounts,
  mountPoints: points,
  hostSkeleton: points,
  bytesMax: Number(bytes),
  clock: () => Date.now(),
  log: pino({ level: 'error' }, pino.destination(2)),
  counts: new ImageCounts(),
  native,
});
await store.open();
const images = await Promise.all(
  references.flatMap((reference, i) => [store.get(reference, `a${i}`), store.get(reference, `b${i}`)]),
);
for (const [i] of references.entries()) {
  const image = images[2 * i];
  if (image === undefined || image !== images[2 * i + 1]) throw new Error('two holders got two images');
  process.stdout.write(`${JSON.stringify({ ...image, rootfs: contentOf(image.rootfs) })}\n`);
}
for (const [i] of references.entries()) {
  store.release(`a${i}`);
  store.release(`b${i}`);
}
await store.collect();

function contentOf(root: string): Record<string, string> {
  const entries = readdirSync(root, { withFileTypes: true, recursive: true });
  const found = entries.map((entry): [string, string] => {
    const path = join(entry.parentPath, entry.name);
    const content = entry.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 8) : '';
    return [path.slice(root.length + 1), entry.isFile() ? content : entry.isDirectory() ? 'folder' : 'other'];
  });
  return Object.fromEntries(found.sort());
}
