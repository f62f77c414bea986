import type { Allotment } from './count-policy.js';
import { FlowStation } from './flow-station.js';
import { LatencyBook } from './latency-book.js';
import { needOf, overShareMax, ratesOf, type Scenario, type SimulatedComponent } from './scenario.js';
import { workersOf } from './station.js';

const MINUTE = 60;
const CPU_STEP = 0.01;

/**
 * Who knows the future: plays every minute beforehand with the requests that will come, and takes the least CPU, constant
 * for the minute, with which the objective holds in it. Count and size as cheap as they can be: the fewest instances.
 */
export function planOracle(scenario: Scenario): Allotment[][] {
  const shares = ratesOf(scenario.components, 1);
  return scenario.components.map((component, index) => planOne(scenario, component, shares[index] ?? 0));
}

function planOne(scenario: Scenario, component: SimulatedComponent, share: number): Allotment[] {
  const { described, service, goal } = component;
  const { cpu } = described.size;
  const station = new FlowStation(service, workersOf(cpu.max), goal.targetMs);
  const book = new LatencyBook();
  const { arrived } = scenario;
  const cut = (hundredths: number): Allotment => {
    const cores = hundredths * CPU_STEP;
    const count = Math.min(described.count.max, Math.max(described.count.min, Math.ceil(cores / cpu.max - 1e-9)));
    if (count === 0) return { count, cpu: cpu.min };
    const size = Math.ceil(cores / count / CPU_STEP - 1e-9) * CPU_STEP;
    return { count, cpu: Number(Math.min(cpu.max, Math.max(cpu.min, size)).toFixed(4)) };
  };
  const play = (from: number, { count, cpu: size }: Allotment): number => {
    book.clear();
    for (let second = from; second < Math.min(arrived.length, from + MINUTE); second += 1) {
      station.serve(second, 1, share * (arrived[second] as number), count, count * size, book);
    }
    return book.overShare;
  };
  const plan: Allotment[] = [];
  const most = Math.round((described.count.max * cpu.max) / CPU_STEP);
  for (let from = 0; from < arrived.length; from += MINUTE) {
    let requests = 0;
    let peak = 0;
    for (let second = from; second < Math.min(arrived.length, from + MINUTE); second += 1) {
      requests += share * (arrived[second] as number);
      peak = Math.max(peak, share * (arrived[second] as number));
    }
    if (requests === 0 && station.jobs < 1e-3) {
      plan.push(cut(0));
      play(from, cut(0));
      continue;
    }
    const saved = station.save();
    let low = Math.max(1, Math.floor(((requests / MINUTE) * service.cpuSeconds) / CPU_STEP));
    const enough = needOf(component, Math.max(peak, 1));
    let high = Math.max(low, Math.min(most, Math.ceil((enough.count * enough.cpu * 1.2) / CPU_STEP)));
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      station.restore(saved);
      if (play(from, cut(middle)) <= overShareMax(goal)) high = middle;
      else low = middle + 1;
    }
    station.restore(saved);
    play(from, cut(high));
    plan.push(cut(high));
  }
  return plan;
}
