import t from 'tap';
import { costsOf, learnCost, newCost } from '../../../coordinator/brain/cost-model.js';
import { normalFrom, randomFrom } from '../../../coordinator/brain/forecast/random.js';
import { tailMs } from '../../../coordinator/brain/latency.js';
import {
  latencyAt,
  latencyPrior,
  learnedCurve,
  learnLatency,
  newLatency,
  sizeForLatency,
} from '../../../coordinator/brain/latency-model.js';
import { LatencyWindow } from '../../../coordinator/brain/latency-window.js';
import { leadMargin, learnLead, newLead, trustOf } from '../../../coordinator/brain/lead-forecast.js';
import { learnNext, marginShare, newNext, noteForecast } from '../../../coordinator/brain/next-demand.js';
import { timeInSystem } from '../../../coordinator/brain/queueing.js';
import { learnFit, newFit, solveFit } from '../../../coordinator/brain/robust-fit.js';
import { LATENCY_BUCKETS, latencyBucket } from '../../../protocol/control.js';
import type { Objective } from '../../../protocol/manifest.js';

const NO_PULL = { a: 0, b: 0, pullA: 0, pullB: 0 };
const near = (found: number, wanted: number, share: number) => Math.abs(found - wanted) <= share * Math.abs(wanted);

t.test('two coefficients are found through noise and outliers', async (t) => {
  const random = randomFrom(1);
  let fit = newFit();
  for (let i = 0; i < 2_000; i += 1) {
    const z = 10 + 90 * random();
    const outlier = random() < 0.02 ? 50 : 1;
    fit = learnFit(fit, 4, z, (4 * 0.05 + 0.01 * z) * (1 + 0.05 * normalFrom(random)) * outlier, 1, NO_PULL);
  }
  const { a, b } = solveFit(fit, NO_PULL);
  t.ok(near(b, 0.01, 0.05), `${b}`);
  t.ok(near(a, 0.05, 0.25), `${a}`);
});

t.test('a truth that moves is followed within a minute or two, a single outlier is not', async (t) => {
  let fit = newFit();
  const learn = (y: number) => {
    fit = learnFit(fit, 0, 1, y, 1, NO_PULL);
  };
  for (let i = 0; i < 3_000; i += 1) learn(1 + 0.02 * Math.sin(i));
  learn(100);
  t.ok(near(solveFit(fit, NO_PULL).b, 1, 0.01));
  for (let i = 0; i < 120; i += 1) learn(2 + 0.02 * Math.sin(i));
  t.ok(near(solveFit(fit, NO_PULL).b, 2, 0.1), `${solveFit(fit, NO_PULL).b}`);
});

t.test('where the data cannot tell, the prior decides; never below zero', async (t) => {
  let same = newFit();
  for (let i = 0; i < 100; i += 1) same = learnFit(same, 2, 10, 1, 1, { ...NO_PULL, pullA: 0.02 });
  const { a, b } = solveFit(same, { ...NO_PULL, pullA: 0.02 });
  t.ok(Math.abs(a) < 1e-6 && near(b, 0.1, 1e-6), `${a} ${b}`);
  let falling = newFit();
  for (let i = 0; i < 100; i += 1) falling = learnFit(falling, 1, i, 100 - i, 1, NO_PULL);
  t.ok(solveFit(falling, NO_PULL).b === 0);
  t.strictSame(solveFit(newFit(), { a: 3, b: 4, pullA: 1, pullB: 1 }), { a: 3, b: 4 });
});

t.test('cost of a request and idle CPU, from ticks of any length', async (t) => {
  for (const step of [1, 5, 15]) {
    const random = randomFrom(step);
    let cost = newCost();
    for (let i = 0; i < 3_600 / step; i += 1) {
      const finishedPerSecond = 50 + 45 * Math.sin((i * step) / 300);
      const usedCpu = (3 * 0.03 + finishedPerSecond * 0.008) * (1 + 0.03 * normalFrom(random));
      cost = learnCost(cost, { instances: 3, finishedPerSecond, usedCpu }, step);
    }
    const { costCpu, idleCpu } = costsOf(cost);
    t.ok(near(costCpu ?? 0, 0.008, 0.05), `ticks of ${step} s: ${costCpu}`);
    t.ok(near(idleCpu, 0.03, 0.4), `ticks of ${step} s: ${idleCpu}`);
  }
  t.equal(costsOf(newCost()).costCpu, null);
});

t.test('time in a queue: M/M/1, the mean of M/M/2, two choices of many', async (t) => {
  for (const rho of [0.1, 0.5, 0.9]) {
    t.ok(near(timeInSystem(rho, 1), 1 / (1 - rho), 1e-9));
    t.ok(near(timeInSystem(rho, 2), 1 / (1 - rho ** 2), 1e-9));
    // Σ ρ^(2^k − 2), k = 1, 2, …
    const many = Array.from({ length: 12 }, (_, k) => rho ** (2 ** (k + 1) - 2)).reduce((sum, each) => sum + each, 0);
    t.ok(near(timeInSystem(rho, 1e6), many, 1e-6), `${timeInSystem(rho, 1e6)} ${many}`);
  }
  for (let servers = 1; servers < 200; servers += 7) {
    for (let rho = 0; rho < 0.98; rho += 0.02) {
      t.ok(timeInSystem(rho + 0.02, servers) >= timeInSystem(rho, servers));
      t.ok(timeInSystem(rho, servers + 1) <= timeInSystem(rho, servers) + 1e-12);
    }
  }
});

t.test('latency: what CPU stretches is told from what it does not', async (t) => {
  const objective: Objective = { kind: 'latency', percentile: 99, targetMs: 200 };
  const prior = latencyPrior(99, 0.005, null);
  let model = newLatency();
  const random = randomFrom(3);
  for (let i = 0; i < 3_600; i += 1) {
    const allotment = { demandCpu: 5.5 + 3.5 * Math.sin(i / 400), count: 10, cpu: 1 };
    const latencyMs = (60 + 18 * latencyAt({ otherMs: 0, cpuMs: 1 }, allotment)) * (1 + 0.03 * normalFrom(random));
    model = learnLatency(model, latencyMs, allotment, 1, prior);
  }
  const curve = learnedCurve(model, objective, 0.005);
  t.ok(near(curve?.cpuMs ?? 0, 18, 0.15) && near(curve?.otherMs ?? 0, 60, 0.15), JSON.stringify(curve));
});

t.test('latency: of the start only the cost is known, and then it is M/M/1', async (t) => {
  const { b } = latencyPrior(99, 0.01, null);
  t.ok(near(b, Math.log(100) * 10, 1e-9));
});

t.test('latency: the smallest size that keeps the bound, and more for more demand', async (t) => {
  const curve = { otherMs: 20, cpuMs: 40 };
  let before = 0;
  for (let demandCpu = 0.5; demandCpu < 8; demandCpu += 0.25) {
    const size = sizeForLatency(curve, 100, demandCpu, 10, { min: 0.1, max: 1 });
    if (size === null) {
      t.ok(latencyAt(curve, { demandCpu, count: 10, cpu: 1 }) > 100);
      continue;
    }
    t.ok(latencyAt(curve, { demandCpu, count: 10, cpu: size }) <= 100);
    t.ok(latencyAt(curve, { demandCpu, count: 10, cpu: size * 0.99 }) > 100);
    t.ok(size >= before);
    before = size;
  }
  t.equal(sizeForLatency({ otherMs: 200, cpuMs: 1 }, 100, 0.1, 10, { min: 0.1, max: 1 }), null);
});

t.test(
  'latency: a call every two seconds tells little at a time, and does not send the size up and down',
  async (t) => {
    const random = randomFrom(11);
    const objective: Objective = { kind: 'latency', percentile: 99, targetMs: 50 };
    const [costCpu, perSecond] = [0.005, 0.5];
    const model = newLatency();
    const window = new LatencyWindow(10);
    const prior = latencyPrior(99, costCpu, null);
    const sizes: number[] = [];
    let cpu = 0.5;
    for (let second = 0; second < 4 * 3_600; second += 1) {
      const counts = new Float64Array(LATENCY_BUCKETS);
      if (random() < perSecond) {
        const bucket = latencyBucket((-1000 * costCpu * Math.log(1 - random())) / cpu);
        counts[bucket] = (counts[bucket] as number) + 1;
      }
      window.advance(counts);
      const demandCpu = perSecond * costCpu;
      learnLatency(model, tailMs(window.sum, 99), { demandCpu, count: 1, cpu }, 1, prior, {
        calls: window.calls,
        percentile: 99,
      });
      const curve = learnedCurve(model, objective, costCpu);
      cpu = curve === null ? cpu : (sizeForLatency(curve, 47.5, demandCpu, 1, { min: 0.1, max: 1 }) ?? 1);
      if (second > 600) sizes.push(cpu);
    }
    // Without a queue 0.005 × ln 100 s ÷ size is 47.5 ms at 0.485 cores.
    sizes.sort((a, b) => a - b);
    const [low, high] = [0.01, 0.99].map((share) => sizes[Math.floor(share * sizes.length)] as number) as [
      number,
      number,
    ];
    t.ok(low > 0.42 && high < 0.6, `98 % of the time between ${low} and ${high} cores`);
  },
);

t.test('the margin covers the share of ticks that it shall, whatever the noise', async (t) => {
  const noises: { [name: string]: (random: () => number) => number } = {
    normal: (random) => 1 + 0.1 * normalFrom(random),
    heavy: (random) => Math.exp(0.3 * normalFrom(random) * (random() < 0.1 ? 4 : 1)),
    jumps: (random) => (random() < 0.02 ? 2 : 1),
  };
  for (const [name, noise] of Object.entries(noises)) {
    const random = randomFrom(11);
    let next = newNext();
    let missed = 0;
    for (let i = 0; i < 20_000; i += 1) {
      const foretold = next.said[next.chosen] * (1 + marginShare(next.margin, next.said[next.chosen]));
      const demand = 10 * noise(random);
      if (i >= 2_000 && demand > foretold) missed += 1;
      next = learnNext(next, demand, 1, 0.99);
    }
    const share = missed / 18_000;
    t.ok(share > 0.004 && share < 0.016, `${name}: ${(share * 100).toFixed(2)} % missed`);
  }
});

t.test('jumps from next to nothing do not make the margin on much as large a share of it', async (t) => {
  const random = randomFrom(3);
  let next = newNext();
  let missed = 0;
  const ticks = 20_000;
  let spare = 0;
  for (let i = 0; i < ticks; i += 1) {
    // Now and then some seconds of a hundred times as much, which no margin covers.
    const demand = (i % 110 < 100 ? 0.05 : 5) * (1 + 0.05 * normalFrom(random));
    const foretold = next.said[next.chosen];
    const upper = foretold * (1 + marginShare(next.margin, foretold));
    if (demand > upper) missed += 1;
    if (i % 110 > 101) spare += upper / demand / (ticks * (8 / 110));
    next = learnNext(next, demand, 1, 0.995);
  }
  t.ok(missed / ticks < 0.012, `${((100 * missed) / ticks).toFixed(2)} % missed`);
  t.ok(spare < 2, `${spare.toFixed(1)} times the demand at the top`);
});

t.test(
  'who foretells best is asked: the level under noise, the trend on a ramp, the forecast that knows',
  async (t) => {
    const random = randomFrom(2);
    let calm = newNext();
    for (let i = 0; i < 500; i += 1) calm = learnNext(calm, 10 + normalFrom(random), 1, 0.99);
    t.equal(calm.chosen, 'level');
    let ramp = newNext();
    for (let i = 0; i < 200; i += 1) ramp = learnNext(ramp, 10 + i, 1, 0.99);
    t.equal(ramp.chosen, 'trend');
    let known = newNext();
    for (let i = 0; i < 500; i += 1) {
      known = noteForecast(learnNext(known, 10 + 5 * (i % 3), 1, 0.99), 10 + 5 * ((i + 1) % 3));
    }
    t.equal(known.chosen, 'forecast');
  },
);

t.test('a fall that ends is not taken for one to nothing', async (t) => {
  let next = newNext();
  for (const demand of [10, 8, 5, 0.4]) next = learnNext(next, demand, 1, 0.99);
  t.ok(next.said.trend >= 0.2, `${next.said.trend} after 0.4 cores`);
});

t.test('a rise beyond all that was foretold is a burst, noise is not', async (t) => {
  const random = randomFrom(4);
  let next = newNext();
  let bursts = 0;
  for (let i = 0; i < 2_000; i += 1) {
    next = learnNext(next, 10 + normalFrom(random), 1, 0.995);
    if (i > 200 && next.burst > 0) bursts += 1;
  }
  t.ok(bursts < 30, `${bursts} bursts in half an hour of noise`);
  next = learnNext(next, 40, 1, 0.995);
  t.ok(next.burst > 25);
});

t.test(
  'trust: in full while the forecast errs no more than "as now", none at twice that, little at first',
  async (t) => {
    const trust = (forecast: (i: number) => number) => {
      let lead = newLead();
      for (let i = 0; i < 300; i += 1) lead = learnLead(lead, 10 + (i % 6), forecast(i + 5), 5, 0.99);
      return lead;
    };
    t.equal(trustOf(trust((i) => 10 + (i % 6))), 1);
    t.equal(trustOf(trust(() => 40)), 0);
    t.equal(trustOf(newLead()), 0);
    const right = trust((i) => 10 + (i % 6));
    t.ok(leadMargin(right, 10) < 0.05, 'what is always right needs no margin');
    t.ok(trust((i) => i).said.length <= 5);
  },
);
