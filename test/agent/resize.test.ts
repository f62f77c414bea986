import t from 'tap';
import { resizeInPlace } from '../../agent/resize.js';
import type { Size } from '../../protocol/link.js';

const MIB = 2 ** 20;
const present: Size = { cpu: 1, memory: 256 * MIB };

/** A cgroup that uses so much memory and refuses sizes at will. */
function cgroup(usedBytes: number, refuses: (size: Size) => boolean = () => false, cacheBytes = 0) {
  const set: Size[] = [];
  const reclaimed: number[] = [];
  const held: number[] = [];
  let used = usedBytes;
  return {
    set,
    reclaimed,
    held,
    usage: async () => ({ memoryBytes: used }),
    grow: (bytes: number) => {
      used += bytes;
    },
    reclaim: async (bytes: number) => {
      reclaimed.push(bytes);
      used = Math.max(usedBytes - cacheBytes, used - bytes);
    },
    hold: async (bytes: number) => {
      held.push(bytes);
    },
    limit: async (size: Size) => {
      if (refuses(size)) throw new Error('EBUSY: write refused');
      set.push(size);
    },
  };
}

t.test('a size that fits is set', async (t) => {
  const group = cgroup(50 * MIB);
  const wanted = { cpu: 0.5, memory: 64 * MIB };
  t.strictSame(await resizeInPlace(group, present, wanted), { size: wanted, refused: null });
  t.strictSame(group.set, [wanted]);
  t.strictSame(group.held, [Math.floor((64 * MIB) / 1.1)], 'what it takes until then it has to wait for');
});

t.test('what grows past the new size before that is in force keeps the old one', async (t) => {
  const group = cgroup(50 * MIB);
  const wanted = { cpu: 1, memory: 64 * MIB };
  const growing = { ...group, hold: async () => void group.grow(20 * MIB) };
  const { size, refused } = await resizeInPlace(growing, present, wanted);
  t.strictSame(size, present);
  t.match(refused, /memory stays, since 77 MiB are needed/);
  t.strictSame(group.set, [present], 'by which the hold ends');
});

t.test('memory does not go below what is in use; CPU changes all the same', async (t) => {
  const group = cgroup(100 * MIB);
  const { size, refused } = await resizeInPlace(group, present, { cpu: 0.5, memory: 64 * MIB });
  t.strictSame(size, { cpu: 0.5, memory: 256 * MIB });
  t.match(refused, /memory stays, since 111 MiB are needed/);
  t.strictSame(group.set, [size]);
  t.strictSame(group.held, [], 'it is not held up for a size that it does not get');
});

t.test('what is only held, such as file cache, is taken back before memory is said to be needed', async (t) => {
  const group = cgroup(100 * MIB, undefined, 60 * MIB);
  const wanted = { cpu: 1, memory: 64 * MIB };
  t.strictSame(await resizeInPlace(group, present, wanted), { size: wanted, refused: null });
  t.equal(group.reclaimed.length, 1);
  t.ok((group.reclaimed[0] ?? 0) < 42 * MIB, 'no more than needed');
  const full = cgroup(100 * MIB, undefined, 20 * MIB);
  t.match((await resizeInPlace(full, present, wanted)).refused, /memory stays, since 88 MiB/);
});

t.test('memory that grows is not looked at twice', async (t) => {
  const group = cgroup(1_000 * MIB);
  const wanted = { cpu: 1, memory: 300 * MIB };
  t.strictSame((await resizeInPlace(group, present, wanted)).size, wanted);
  t.strictSame(group.held, []);
});

t.test('what the kernel refuses leaves the old size in force and is told', async (t) => {
  const group = cgroup(0, ({ cpu }) => cpu > 1);
  const { size, refused } = await resizeInPlace(group, present, { cpu: 2, memory: 256 * MIB });
  t.strictSame(size, present);
  t.match(refused, /EBUSY/);
  t.strictSame(group.set, [present], 'files that were written before the failure are set back');
  const dead = cgroup(0, () => true);
  t.match((await resizeInPlace(dead, present, { cpu: 2, memory: 1 })).refused, /could not be set again/);
});
