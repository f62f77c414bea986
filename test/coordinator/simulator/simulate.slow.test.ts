import fc from 'fast-check';
import t from 'tap';
import { LatencyBook } from '../../../coordinator/simulator/latency-book.js';
import { makePolicy, POLICIES, type PolicyName } from '../../../coordinator/simulator/policies.js';
import { elasticityOf, Recorder } from '../../../coordinator/simulator/recorder.js';
import { needOf, rateFor, type Scenario } from '../../../coordinator/simulator/scenario.js';
import {
  DEFAULT_WORK,
  makeScenario,
  type Setup,
  START_SHOAL,
  simpleApp,
} from '../../../coordinator/simulator/setup.js';
import { type Simulation, simulate } from '../../../coordinator/simulator/simulate.js';
import {
  everySecond,
  parseTrace,
  partOf,
  spedUp,
  type Trace,
  withInterval,
} from '../../../coordinator/simulator/trace.js';

const APP = simpleApp(DEFAULT_WORK.goal, DEFAULT_WORK.cpuSeconds, DEFAULT_WORK.variation);
const traceOf = (values: number[], step = 60): Trace => ({
  seconds: Float64Array.from(values, (_, i) => i * step),
  values: Float64Array.from(values),
});
const WAVE = traceOf(Array.from({ length: 41 }, (_, i) => 6 + 5 * Math.sin(i / 5)));
const scenarioOf = (trace: Trace, change: Partial<Setup> = {}): Scenario =>
  makeScenario(APP, {
    trace,
    scale: 6,
    seed: 1,
    burst: 0,
    noise: 0.02,
    start: START_SHOAL,
    engine: 'flow',
    failures: [],
    ...change,
  });
const play = (name: PolicyName, scenario: Scenario): Simulation => simulate(scenario, makePolicy(name, scenario));

const played = new Map<string, Simulation>();
/** The wave, played once by each policy and engine: the same seed gives the same numbers, as is shown below. */
function wave(name: PolicyName, engine: Setup['engine'] = 'flow'): Simulation {
  const key = `${name} ${engine}`;
  const run = played.get(key) ?? play(name, scenarioOf(WAVE, { engine }));
  played.set(key, run);
  return run;
}

t.test('a trace is read, and a bad row is named with its line', async (t) => {
  const read = (text: string) => parseTrace(text, 'load.csv');
  t.strictSame([...read('time,value\n100,1\n160,3\n\n').seconds], [0, 60]);
  t.strictSame([...read('0,1\n60,3').values], [1, 3]);
  t.strictSame(
    [...read('\uFEFF# x\r\n"time";"load"\r\n"0";"1"\r\n60;\r\n120;4\r\n').seconds],
    [0, 120],
    'a gap is a straight line',
  );
  t.strictSame([...read('2026-01-01 00:00,1\n2026-01-01T00:01:00Z,2').seconds], [0, 60]);
  t.strictSame([...read('1600000000000,1\n1600000060000,2').seconds], [0, 60]);
  for (const [text, said] of [
    ['time,value\n0,1\n60,x\n', 'load.csv:3: "x" is no number; leave the field empty for a gap'],
    ['time,value\nsoon,1\n60,x\n', 'load.csv:2: "soon" is no time; expected seconds or a date'],
    ['0,1\n60,2,3\n', 'load.csv:2: expected "time,value", found 3 fields'],
    ['0,1\r60,2\r', 'load.csv:1: has a carriage return'],
    ['0,1\n0,2\n', 'load.csv:2: time 0 is not after'],
    ['0,1\n1,-2\n', 'load.csv:2: value -2 is below 0'],
    ['0,1\n', 'at least two rows'],
    ['0,0\n1,0\n', 'all values are 0'],
  ] as const) {
    t.throws(() => read(text), { code: 'SHOAL_E_USAGE', message: new RegExp(said.replace(/[".]/g, '\\$&')) });
  }
});

t.test('loads between the rows lie on straight lines', async (t) => {
  t.strictSame([...everySecond(traceOf([0, 4, 0], 2))], [1, 3, 3, 1]);
  t.strictSame([...withInterval(traceOf([1, 2, 3]), 5).seconds], [0, 5, 10]);
  t.strictSame([...spedUp(traceOf([1, 2, 3]), 30).seconds], [0, 2, 4]);
  t.strictSame([...partOf(traceOf([1, 2, 3]), 60, 120).values], [2, 3]);
  t.throws(() => partOf(traceOf([1, 2, 3]), 70, 120), { code: 'SHOAL_E_USAGE' });
});

t.test('the peak needs as many instances as --scale says', async (t) => {
  const [component] = APP.components;
  if (component === undefined) throw new Error('no component');
  for (const count of [1, 2, 7, 40, 200]) {
    const rate = rateFor(component, count);
    t.equal(needOf(component, rate).count, count);
    t.equal(needOf(component, rate * 1.002).count, count + 1);
  }
});

t.test('the same seed gives the same numbers, another one others; policies do not disturb each other', async (t) => {
  for (const name of POLICIES) {
    const one = wave(name);
    t.strictSame(play(name, scenarioOf(WAVE)), one, name);
    t.notSame(play(name, scenarioOf(WAVE, { seed: 2 })).components[0]?.requests, one.components[0]?.requests);
  }
  const requests = POLICIES.map((name) => Math.round(wave(name).components[0]?.requests ?? 0));
  t.ok(Math.max(...requests) - Math.min(...requests) < 1000, `the same load for all: ${requests}`);
});

t.test('static and oracle never miss; the oracle is the cheapest, and hardly above the need', async (t) => {
  for (const engine of ['flow', 'events'] as const) {
    const [peak, oracle] = (['static', 'oracle'] as const).map((name) => wave(name, engine));
    t.equal(peak?.components[0]?.missedMinutes, 0);
    t.ok((oracle?.components[0]?.costRatio ?? 9) < 1.1, `${engine}: ${oracle?.components[0]?.costRatio}`);
    t.ok((oracle?.components[0]?.costRatio ?? 9) < (peak?.components[0]?.costRatio ?? 0));
    if (engine === 'flow') t.equal(oracle?.components[0]?.missedMinutes, 0);
  }
});

t.test('both engines come to the same result', async (t) => {
  for (const name of ['hpa', 'kpa', 'static'] as const) {
    const [flow, events] = (['flow', 'events'] as const).map((engine) => wave(name, engine).components[0]);
    if (flow === undefined || events === undefined) throw new Error('no component');
    t.ok(Math.abs(flow.allottedCpuHours / events.allottedCpuHours - 1) < 0.05, name);
    t.ok(Math.abs((flow.p50Ms ?? 0) / (events.p50Ms ?? 1) - 1) < 0.1, `${name} ${flow.p50Ms} ${events.p50Ms}`);
    t.ok(
      Math.abs(flow.missedMinutes - events.missedMinutes) <= 2,
      `${name} ${flow.missedMinutes} ${events.missedMinutes}`,
    );
  }
});

t.test('Shoal: what the live loop decides; sizes change in place; a lost host is replaced', async (t) => {
  const calm = wave('shoal').components[0];
  t.ok((calm?.moves.resized ?? 0) > 0);
  t.ok((calm?.costRatio ?? 9) < 2.5, `${calm?.costRatio}`);
  for (const name of ['shoal', 'hpa', 'kpa', 'static'] as const) {
    const failures = [{ atSeconds: 900, host: 'host-1' }];
    const lost = play(name, scenarioOf(WAVE, { failures }));
    const count = (run: Simulation, minute: number) => run.rows[0]?.[minute]?.count ?? 0;
    const whole = wave(name);
    t.ok((lost.components[0]?.failed ?? 0) > 0, `${name} loses what the host was doing`);
    t.ok(count(lost, 17) > 0.8 * count(whole, 17), `${name}: ${count(lost, 17)} of ${count(whole, 17)} are back`);
  }
});

t.test('a handful of calls a second: their latencies are seen as they are, and the objective is kept', async (t) => {
  const few = scenarioOf(traceOf(Array.from({ length: 61 }, (_, i) => (i === 0 ? 100 : 1))), { scale: 4 });
  const [shoal] = play('shoal', few).components;
  t.ok((shoal?.missedMinutes ?? 60) <= 6, `${shoal?.missedMinutes} of 60 minutes missed`);
});

t.test('every request is accounted for', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { minLength: 3, maxLength: 6 }),
      fc.constantFrom<PolicyName>('shoal', 'hpa', 'kpa'),
      fc.constantFrom<'flow' | 'events'>('flow', 'events'),
      (values, name, engine) => {
        // At last some time without load, in which all ends.
        const scenario = scenarioOf(traceOf([...values, 10, 0.01, 0, 0, 0]), { engine, scale: 3, burst: 0.2 });
        const { components } = play(name, scenario);
        const arrived = scenario.arrived.reduce((sum, each) => sum + each, 0);
        return Math.abs((components[0]?.requests ?? 0) + (components[0]?.failed ?? 0) - arrived) < 0.01 * arrived + 1;
      },
    ),
    { numRuns: 20 },
  );
});

t.test('a minute misses by whole requests, not by fractions that formulas leave behind', async (t) => {
  const recorder = new Recorder({ percentile: 99, targetMs: 50 }, []);
  for (const [minute, late] of [0.001, 1, 0].entries()) {
    const book = new LatencyBook();
    book.count(3_000, late, 50);
    recorder.second(60 * minute + 59, book, 1, 1, 1);
  }
  t.strictSame(
    recorder.rows.map(({ missed }) => missed),
    [false, true, false],
  );
});

t.test("SPEC's measures by hand", async (t) => {
  const rows = [
    { needed: 2, supplied: 2, needCount: 2, count: 2 },
    { needed: 4, supplied: 2, needCount: 4, count: 2 },
    { needed: 2, supplied: 3, needCount: 2, count: 3 },
    { needed: 2, supplied: 2, needCount: 2, count: 2 },
  ];
  t.match(elasticityOf(rows), { accuracyUnder: 12.5, accuracyOver: 12.5, timeShareUnder: 25, timeShareOver: 25 });
  t.equal(elasticityOf(rows).jitterPerHour, 0);
});
