import t from 'tap';
import type { Resizable, Resized } from '../../agent/resize.js';
import { Sizing } from '../../agent/sizing.js';
import type { Size } from '../../protocol/link.js';

const MIB = 2 ** 20;
const SMALL: Size = { cpu: 0.2, memory: 64 * MIB };
const BIG: Size = { cpu: 0.5, memory: 128 * MIB };

/** A cgroup each change of which takes a turn of the event loop, and that does not begin one while another is under way. */
function slowCgroup() {
  const set: Size[] = [];
  let changing = false;
  const cgroup: Resizable = {
    usage: async () => ({ memoryBytes: MIB }),
    reclaim: async () => {},
    hold: async () => {},
    limit: async (size) => {
      if (changing) throw new Error('two changes at once');
      changing = true;
      await new Promise((resolve) => setImmediate(resolve));
      changing = false;
      set.push(size);
    },
  };
  return { set, cgroup };
}

t.test('one that is resized while it starts keeps its core until it is ready', async (t) => {
  const { set, cgroup } = slowCgroup();
  let isStarting = true;
  let size = SMALL;
  const sizing = new Sizing(cgroup, () => isStarting);
  const keep = async (resized: Resized) => {
    size = resized.size;
  };
  await sizing.set(() => size);
  await sizing.resize(() => size, BIG, keep);
  t.same(size, BIG, 'what it is to have is told');
  t.same(set, [
    { ...SMALL, cpu: 1 },
    { ...BIG, cpu: 1 },
  ]);
  isStarting = false;
  await sizing.set(() => size);
  t.same(set.at(-1), BIG);
});

t.test('ready in the middle of a resize it has the new size, whatever comes first', async (t) => {
  for (const readyFirst of [true, false]) {
    const { set, cgroup } = slowCgroup();
    let size = SMALL;
    const sizing = new Sizing(cgroup, () => false);
    const keep = async (resized: Resized) => {
      size = resized.size;
    };
    const ready = () => sizing.set(() => size);
    const resize = () => sizing.resize(() => size, BIG, keep);
    await Promise.all(readyFirst ? [ready(), resize()] : [resize(), ready()]);
    t.same([size, set.at(-1)], [BIG, BIG]);
  }
});

t.test('a change that the kernel refuses holds up none after it', async (t) => {
  const { set, cgroup } = slowCgroup();
  const sizing = new Sizing(
    { ...cgroup, limit: (size) => (size === SMALL ? Promise.reject(new Error('EBUSY')) : cgroup.limit(size)) },
    () => false,
  );
  await t.rejects(
    sizing.set(() => SMALL),
    { message: 'EBUSY' },
  );
  await sizing.set(() => BIG);
  t.same(set, [BIG]);
});
