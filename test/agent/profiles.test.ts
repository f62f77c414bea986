import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { readHertz } from '../../agent/options.js';
import { withPerfMap } from '../../agent/perf-map.js';
import { ComponentProfiles } from '../../agent/profiles/component-profiles.js';
import { ProfileRecorder } from '../../agent/profiles/recorder.js';
import { parseProfileRequest } from '../../agent/profiles/request.js';
import { RingFolder } from '../../agent/profiles/ring-folder.js';
import { type DrainedStacks, native, type StackProfilerHandle } from '../../native/index.js';
import { LIMITS } from '../../protocol/limits.js';
import type { Profile } from '../../protocol/profile.js';

async function folderOf(test: { teardown(action: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-profiles-'));
  test.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const counts = ({ functions, stacks }: Profile) =>
  Object.fromEntries(stacks.map(({ frames, count }) => [functions[frames[0] ?? -1]?.name, count]));

t.test('a ring on disk keeps the newest within its bound', async (t) => {
  const ring = new RingFolder(join(await folderOf(t), 'ring'), 80_000);
  t.same(await ring.read(0, 1e9), []);
  t.equal(await ring.oldestMs(), null);
  for (let i = 0; i < 100; i += 1) await ring.append({ fromMs: i, toMs: i + 1, bytes: Buffer.alloc(3_000, i) });
  const bytes = await ring.bytes();
  t.ok(bytes <= 80_000 && bytes > 50_000, `${bytes} bytes`);
  const kept = await ring.read(0, 1e9);
  t.equal(kept.at(-1)?.fromMs, 99);
  t.equal(kept[0]?.fromMs, await ring.oldestMs());
  t.same(
    kept.map(({ fromMs }) => fromMs),
    Array.from({ length: kept.length }, (_, i) => 100 - kept.length + i),
    'none is missing in between',
  );
  t.ok(kept.every((block) => block.bytes.length === 3_000 && block.bytes.every((each) => each === block.fromMs)));
  t.same(
    (await ring.read(90, 92)).map(({ fromMs }) => fromMs),
    [90, 91],
    'by the middle of the block',
  );
});

t.test('what a killed process or a bad disk leaves is passed over', async (t) => {
  const folder = join(await folderOf(t), 'ring');
  const first = new RingFolder(folder, 1e6);
  for (let i = 0; i < 3; i += 1) await first.append({ fromMs: i, toMs: i + 1, bytes: Buffer.from('block') });
  const [name = ''] = await readdir(folder);
  const whole = await readFile(join(folder, name));
  const read = async () => (await new RingFolder(folder, 1e6).read(0, 1e9)).map(({ fromMs }) => fromMs);
  for (let length = 0; length < whole.length; length += 7) {
    await writeFile(join(folder, name), whole.subarray(0, length));
    t.equal((await read()).length, Math.floor(length / (whole.length / 3)), `cut after ${length} bytes`);
  }
  const changed = Buffer.from(whole);
  changed.writeUInt8(changed.readUInt8(whole.length - 1) ^ 1, whole.length - 1);
  await writeFile(join(folder, name), changed);
  t.same(await read(), [0, 1]);
  await writeFile(join(folder, name), whole);
  await appendFile(join(folder, name), 'x');
  const second = new RingFolder(folder, 1e6);
  await second.append({ fromMs: 3, toMs: 4, bytes: Buffer.from('next') });
  t.same(await read(), [0, 1, 2, 3], 'a new process goes on in a file of its own');
});

t.test('a span is told by the second, by blocks and by long blocks, each sample once', async (t) => {
  const folder = join(await folderOf(t), 'c');
  const second = (atMs: number): Profile => ({
    kind: 'cpu',
    fromMs: atMs,
    toMs: atMs + 1_000,
    hertz: 99,
    lost: 1,
    functions: [{ name: 'work', file: 'x' }],
    stacks: [{ frames: [0], count: 1, seconds: 0.01 }],
  });
  const profiles = new ComponentProfiles(folder, 'cpu', 99);
  const start = 1_000_000;
  const seconds = 700;
  for (let i = 0; i < seconds; i += 1) {
    profiles.add(second(start + i * 1_000));
    await profiles.flush(start + (i + 1) * 1_000);
  }
  const all = await profiles.read(start, start + seconds * 1_000);
  t.same(counts(all), { work: seconds });
  t.equal(all.lost, seconds);
  t.same(counts(await profiles.read(start + 695_000, start + 698_000)), { work: 3 }, 'the last seconds exactly');
  t.same(counts(await profiles.read(start + 500_000, start + 600_000)), { work: 100 });
  t.same((await profiles.read(0, 1)).stacks, []);

  await profiles.flush(start + seconds * 1_000, true);
  const again = new ComponentProfiles(folder, 'cpu', 99);
  t.same(counts(await again.read(start, start + seconds * 1_000)), { work: seconds }, 'and by the next process');
});

t.test('a clock that is set back keeps nothing from being written', async (t) => {
  const folder = join(await folderOf(t), 'c');
  const profiles = new ComponentProfiles(folder, 'cpu', 99);
  const head = {
    lost: 0,
    functions: [{ name: 'work', file: 'x' }],
    stacks: [{ frames: [0], count: 1, seconds: 0.01 }],
  };
  const hour = 3_600_000;
  profiles.add({ ...head, fromMs: 2 * hour, toMs: 2 * hour + 1_000 });
  await profiles.flush(2 * hour + 1_000);
  profiles.add({ ...head, fromMs: hour, toMs: hour + 1_000 });
  await profiles.flush(hour + 1_000);
  t.equal((await new RingFolder(join(folder, 'blocks'), 1e6).read(0, 3 * hour)).length, 1);
});

t.test('a disk that refuses one component leaves the others their turn', async (t) => {
  const folder = await folderOf(t);
  // No folder can be made where a file is.
  await writeFile(join(folder, 'a'), '');
  const profiler = new FakeProfiler();
  let nowMs = 1_000_000;
  const log = pino({ level: 'silent' });
  const recorder = new ProfileRecorder({ profiler, activity: null, hertz: 99, folder, clock: () => nowMs, log });
  for (const app of ['a', 'b']) recorder.watch(`/${app}`, { app, component: 'c' });
  for (let second = 0; second < 12; second += 1) {
    nowMs += 1_000;
    for (const app of ['a', 'b']) profiler.sample(`/${app}`, 1);
    await recorder.round();
  }
  t.ok((await readdir(join(folder, 'b/c/cpu/blocks'))).length > 0);
  await recorder.close();
});

/** A profiler that hands out what a test puts in. */
class FakeProfiler implements StackProfilerHandle {
  readonly watched = new Set<string>();
  next: DrainedStacks['stacks'] = [];
  lost = 0;
  tablesLeftOut: DrainedStacks['tablesLeftOut'] = [];
  inlinesLeftOut: DrainedStacks['inlinesLeftOut'] = [];
  inlinesSeconds = 0;
  drains = 0;
  start() {
    return {};
  }
  watch(path: string): void {
    this.watched.add(path);
  }
  unwatch(path: string): void {
    this.watched.delete(path);
  }
  async drain(): Promise<DrainedStacks> {
    this.drains += 1;
    const stacks = this.next.splice(0);
    const { lost, tablesLeftOut, inlinesLeftOut, inlinesSeconds } = this;
    return { lost, stacks, functions: [{ name: 'work', file: 'x' }], tablesLeftOut, inlinesLeftOut, inlinesSeconds };
  }
  cost() {
    return { runs: 0, seconds: 0 };
  }
  close(): void {}
  sample(cgroup: string, count: number): void {
    this.next.push({ cgroup, kind: 'cpu', pid: 1, count, seconds: count / 99, frames: [0] });
  }
}

t.test('samples go to the component of their cgroup, also after its end, and to no other', async (t) => {
  const profiler = new FakeProfiler();
  let nowMs = 1_000_000;
  const log = pino({ level: 'silent' });
  const folder = await folderOf(t);
  const recorder = new ProfileRecorder({ profiler, activity: null, hertz: 99, folder, clock: () => nowMs, log });
  const read = async (component: string) =>
    counts(await recorder.read({ app: 'a', component, kind: 'cpu', fromMs: 0, toMs: nowMs }));
  const round = async () => {
    nowMs += 1_000;
    await recorder.round();
  };
  await round();
  t.equal(profiler.drains, 0, 'without instances nothing is done');
  recorder.watch('/one', { app: 'a', component: 'web' });
  recorder.watch('/two', { app: 'a', component: 'db' });
  profiler.sample('/one', 3);
  profiler.sample('/two', 5);
  await round();
  profiler.sample('/one', 2);
  recorder.unwatch('/one');
  profiler.lost = 4;
  profiler.tablesLeftOut = [
    { file: 'x', why: 'too large' },
    { file: 'of another', why: 'no room' },
  ];
  profiler.inlinesLeftOut = [
    { file: 'x', why: 'split' },
    { file: 'of another', why: 'unreadable' },
  ];
  profiler.inlinesSeconds = 0.25;
  await round();
  t.same(await read('web'), { work: 5 }, 'the last samples of an instance that has ended are its own');
  profiler.sample('/one', 7);
  await round();
  t.same(await read('web'), { work: 5 }, 'nobody gets samples of a cgroup that is no longer known');
  recorder.watch('/one', { app: 'a', component: 'db' });
  profiler.sample('/one', 1);
  await round();
  t.same([await read('web'), await read('db')], [{ work: 5 }, { work: 6 }], 'the same path may be another component');
  t.same(await read('none'), {});
  const { lost, notes } = await recorder.read({ app: 'a', component: 'web', kind: 'cpu', fromMs: 0, toMs: nowMs });
  t.equal(lost, 4);
  t.match(
    notes,
    [/^stacks through x may lack callers: .*\(too large\)$/, /^functions inlined in x are not told, .* -gsplit-dwarf/],
    'of its own files',
  );
  t.equal(notes?.length, 2);
  t.same(recorder.figures(), {
    samplesLost: 4,
    countsLost: 0,
    tablesLeftOut: 2,
    inlinesLeftOut: 2,
    inlinesSeconds: 0.25,
  });
  t.ok(profiler.watched.has('/two'));
  await recorder.close();
});

t.test(
  'of all components together those not written longest go first, until their files keep to the bound',
  async (t) => {
    const folder = await folderOf(t);
    const sizes: [name: string, bytes: number, ageSeconds: number][] = [
      ['oldest', 0.3, 30],
      ['older', 0.5, 20],
      ['newer', 0.4, 10],
      ['newest', 0.4, 5],
    ];
    for (const [name, share, ageSeconds] of sizes) {
      const ring = join(folder, 'a', name, 'cpu', 'short');
      await mkdir(ring, { recursive: true });
      await writeFile(join(ring, '0'), '');
      // Holes take no room on the disk.
      await truncate(join(ring, '0'), Math.floor(share * LIMITS.profilesBytesMax));
      const time = new Date(Date.now() - ageSeconds * 1_000);
      await utimes(join(ring, '0'), time, time);
      await utimes(ring, time, time);
    }
    const log = pino({ level: 'silent' });
    const profiler = new FakeProfiler();
    const recorder = new ProfileRecorder({ profiler, activity: null, hertz: 99, folder, clock: Date.now, log });
    await recorder.round();
    const left = await Promise.all(
      sizes.map(async ([name]) => ((await readdir(join(folder, 'a', name))).includes('cpu') ? [name] : [])),
    );
    t.same(left.flat(), ['newer', 'newest']);
  },
);

t.test('what the coordinator asks for is looked at: its names become folders', async (t) => {
  const of = { app: 'a', component: 'b', kind: 'cpu', fromMs: 1, toMs: 2 };
  t.same(parseProfileRequest({ request: 1, of }), of);
  const bad: object[] = [
    { app: '..' },
    { app: 'a/b' },
    { app: 'x'.repeat(LIMITS.nameLengthMax + 1) },
    { component: 7 },
  ];
  bad.push({ kind: 'gpu' }, { fromMs: -1 }, { toMs: 0 }, { toMs: Number.NaN });
  for (const change of bad)
    t.throws(() => parseProfileRequest({ request: 1, of: { ...of, ...change } }), { code: 'SHOAL_E_FRAME' });
  t.throws(() => parseProfileRequest({ request: 'x', of }), { code: 'SHOAL_E_FRAME' });
  t.throws(() => parseProfileRequest({ request: 1 }), { code: 'SHOAL_E_FRAME' });
});

t.test('the rate of stacks is a whole number up to a bound; 0 takes none', async (t) => {
  t.same(['0', '1', '99', String(LIMITS.profileHertzMax)].map(readHertz), [0, 1, 99, LIMITS.profileHertzMax]);
  for (const bad of ['', '-1', '1.5', '1e2', '0x10', ' 99', 'fast', String(LIMITS.profileHertzMax + 1), '99999'])
    t.throws(() => readHertz(bad), { message: `--profile-hertz must be a whole number from 0 to 1000, not ${bad}` });
  // The native part looks at it itself.
  const profiler = native.createStackProfiler();
  for (const bad of [0, -1, Number.NaN, LIMITS.profileHertzMax + 1])
    t.throws(() => profiler.start(bad, false), { message: 'the rate must be from 1 to 1000 Hz' });
});

t.test('Node.js inside is told to name its functions, unless the manifest speaks of it', async (t) => {
  t.match(withPerfMap({}).NODE_OPTIONS, /^--perf-basic-prof-only-functions/);
  t.match(withPerfMap({ NODE_OPTIONS: '--max-old-space-size=50' }).NODE_OPTIONS, / --max-old-space-size=50$/);
  t.same(withPerfMap({ NODE_OPTIONS: '--no-perf-basic-prof' }), { NODE_OPTIONS: '--no-perf-basic-prof' });
});
