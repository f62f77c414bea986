import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { Cgroup, memoryProbeProblem } from '../../agent/cgroup.js';
import { type MemoryProbe, parsePressure, probeStep } from '../../agent/memory-probe.js';
import { MemoryProber } from '../../agent/memory-prober.js';

const MIB = 2 ** 20;
const LOOK_MS = 6_000;

/**
 * An instance that works with so much and holds more. What is taken of its working set it fetches back at once, waiting
 * 100 µs for each page.
 */
class Work {
  stalledUs = 0;
  constructor(
    public workingBytes: number,
    public usedBytes: number,
  ) {}

  take(bytes: number): void {
    const left = this.usedBytes - bytes;
    this.stalledUs += (Math.max(0, this.workingBytes - left) / 4_096) * 100;
    this.usedBytes = Math.max(left, this.workingBytes);
  }
}

function probe(work: Work, rounds: number, before: MemoryProbe | null = null) {
  let known = before;
  const startMs = known?.last.atMs ?? 0;
  for (let round = 1; round <= rounds; round += 1) {
    const step = probeStep(known, { atMs: startMs + round * LOOK_MS, ...work });
    known = step.probe;
    work.take(step.reclaimBytes);
  }
  return known as MemoryProbe;
}

t.test('what an instance does not miss is taken until its working set is left, and it waits little', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 16, max: 4_000 }), fc.integer({ min: 0, max: 2_000 }), (working, spare) => {
      const work = new Work(working * MIB, (working + spare) * MIB);
      // A hundredth each time at most: as many rounds as an exponential takes, and those of 64 MiB.
      const rounds = 600;
      probe(work, rounds);
      const near = work.usedBytes <= work.workingBytes * 1.02;
      const waited = work.stalledUs / 1_000 / (rounds * LOOK_MS);
      return near && waited < 0.05;
    }),
    { numRuns: 50 },
  );
});

t.test('after pressure it is left in peace for a minute, and a working set that grows is believed', async (t) => {
  const work = new Work(100 * MIB, 101 * MIB);
  let known = probe(work, 1);
  work.stalledUs += 50_000;
  for (let round = 0; round < 10; round += 1) {
    const step = probeStep(known, { atMs: known.last.atMs + LOOK_MS, ...work });
    t.equal(step.reclaimBytes, 0);
    known = step.probe;
  }
  t.ok(probeStep(known, { atMs: known.last.atMs + LOOK_MS, ...work }).reclaimBytes > 0);
  work.workingBytes = 180 * MIB;
  work.take(0);
  t.ok(work.usedBytes >= 180 * MIB);
});

t.test('clocks and counters that go back, tiny instances and huge ones', async (t) => {
  const first = probeStep(null, { atMs: 10, usedBytes: 100 * MIB, stalledUs: 5 });
  t.equal(first.reclaimBytes, 0, 'nothing is known yet');
  const look = { atMs: 6_010, usedBytes: 100 * MIB, stalledUs: 5 };
  t.equal(probeStep(first.probe, { ...look, stalledUs: 4 }).reclaimBytes, 0, 'another cgroup of the same name');
  t.equal(probeStep(first.probe, { ...look, atMs: 10 }).reclaimBytes, 0);
  t.equal(probeStep(first.probe, look).reclaimBytes, MIB, 'a hundredth');
  t.equal(probeStep(first.probe, { ...look, usedBytes: 4 * MIB }).reclaimBytes, 0);
  t.equal(probeStep(first.probe, { ...look, usedBytes: 2 ** 40 }).reclaimBytes, 64 * MIB);
  t.equal(probeStep(first.probe, { ...look, stalledUs: 5_005 }).reclaimBytes, MIB / 2, 'less the nearer the bound is');
});

t.test('the kernel’s files: what is read, what is written, what a host lacks', async (t) => {
  t.equal(parsePressure('some avg10=0.00 avg60=0.00 avg300=0.00 total=4711\nfull avg10=0.00 total=12\n'), 4711);
  t.equal(parsePressure('full avg10=0.00 total=12\n'), null);
  t.equal(parsePressure(''), null);
  const folder = await mkdtemp(join(tmpdir(), 'shoal-memory-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const put = (file: string, text: string) => writeFile(join(folder, file), text);
  const log = pino({ enabled: false });
  t.match(await memoryProbeProblem(folder), /no cgroup v2 memory controller/);
  await put('memory.current', `${100 * MIB}\n`);
  t.match(await memoryProbeProblem(folder), /5\.19/);
  await put('memory.reclaim', '');
  t.match(await memoryProbeProblem(folder), /psi=1/);
  const cgroups = new Map([['a', new Cgroup(folder)]]);
  let nowMs = 0;
  const prober = new MemoryProber(
    () => cgroups,
    log,
    () => nowMs,
  );
  await prober.round();
  await put('memory.pressure', 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n');
  t.equal(await memoryProbeProblem(folder), null);
  await prober.round();
  t.equal(await readFile(join(folder, 'memory.reclaim'), 'utf8'), '', 'first it looks');
  nowMs += LOOK_MS;
  await prober.round();
  t.equal(await readFile(join(folder, 'memory.reclaim'), 'utf8'), String(MIB));
  await rm(folder, { recursive: true });
  nowMs += LOOK_MS;
  await prober.round();
  await prober.close();
});
