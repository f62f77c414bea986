import { withCalls } from './call-latency.js';
import { stream } from './dice.js';
import { EventStation } from './event-station.js';
import { FlowStation } from './flow-station.js';
import { Ground } from './ground.js';
import { LatencyBook } from './latency-book.js';
import type { Policy, Totals, View } from './policy.js';
import { type ComponentFigures, figuresOf, type MinuteRow, Recorder } from './recorder.js';
import type { Need, Scenario, SimulatedComponent } from './scenario.js';
import { type Station, workersOf } from './station.js';

export interface Simulation {
  components: ComponentFigures[];
  /** Minute by minute, of each component. */
  rows: MinuteRow[][];
}

/** A component with all that belongs to it in a run. */
interface Part {
  component: SimulatedComponent;
  station: Station;
  ground: Ground;
  recorder: Recorder;
  totals: Totals;
  outstanding: number;
  /** Of the second under way: latencies within the component, and with those that it calls. */
  own: LatencyBook;
  whole: LatencyBook;
  isCalled: boolean;
  /** Of the last second with any, where others call it. */
  last: LatencyBook;
  /** Part of a request that has not come in yet. */
  leftOver: number;
  /** Since the policy was asked last. */
  recent: LatencyBook;
}

/**
 * Plays a trace against a policy, second by second: the policy sees what could have been measured until now and decides;
 * then the requests of the second come in, callers first. The same scenario and policy give the same numbers.
 */
export function simulate(scenario: Scenario, policy: Policy): Simulation {
  const seconds = scenario.arrived.length;
  const parts = scenario.components.map((component, index) =>
    partOf(scenario, component, scenario.needs[index] ?? [], seconds),
  );
  const failures = [...scenario.failures].sort((a, b) => a.atSeconds - b.atSeconds);
  for (let now = 0; now < seconds; now += 1) {
    while (failures[0] !== undefined && failures[0].atSeconds <= now) {
      const { host } = failures.shift() as { host: string };
      policy.hostFailed(host, now);
      for (const { ground, station } of parts) {
        ground.failHost(host);
        station.change(ground.instances, now);
      }
    }
    if (now % policy.periodSeconds === 0) ask(policy, parts, now);
    playSecond(scenario, parts, now);
  }
  for (const { recorder } of parts) recorder.finish(seconds - (seconds % 60));
  return {
    components: parts.map(({ component, recorder, ground }) =>
      figuresOf(component, recorder.rows, recorder.all, recorder.failed, ground.moves),
    ),
    rows: parts.map(({ recorder }) => recorder.rows),
  };
}

function partOf(scenario: Scenario, component: SimulatedComponent, needs: readonly Need[], seconds: number): Part {
  const { service, goal, described, name } = component;
  const workers = workersOf(described.size.cpu.max);
  const random = stream(scenario.seed, `requests of ${name}`);
  const empty = () => new Float64Array(seconds + 1);
  return {
    component,
    station:
      scenario.engine === 'events'
        ? new EventStation(service, workers, goal.targetMs, random)
        : new FlowStation(service, workers, goal.targetMs),
    ground: new Ground(scenario.start, stream(scenario.seed, `starts of ${name}`)),
    recorder: new Recorder(goal, needs),
    totals: {
      arrived: empty(),
      finished: empty(),
      failed: empty(),
      cpuSeconds: empty(),
      outstanding: empty(),
      serving: empty(),
    },
    outstanding: 0,
    own: new LatencyBook(),
    whole: new LatencyBook(),
    isCalled: scenario.components.some(({ calls }) => calls.some(({ to }) => scenario.components[to] === component)),
    last: new LatencyBook(),
    leftOver: 0,
    recent: new LatencyBook(),
  };
}

function ask(policy: Policy, parts: readonly Part[], now: number): void {
  const views = parts.map(({ ground, totals, outstanding, recent }): View => {
    return { instances: ground.instances, totals, outstanding, recent };
  });
  const wanted = policy.decide(now, views);
  for (const [index, part] of parts.entries()) {
    const before = part.ground.instances;
    part.ground.apply(wanted[index] ?? [], now, now === 0);
    if (part.ground.instances !== before) part.station.change(part.ground.instances, now);
    part.recent.clear();
  }
}

function playSecond(scenario: Scenario, parts: readonly Part[], now: number): void {
  const incoming = parts.map((_, index) => (index === 0 ? (scenario.arrived[now] as number) : 0));
  for (const [index, part] of parts.entries()) {
    const { station, totals, own, component } = part;
    own.clear();
    // Request by request there are only whole ones; what is left over comes with the next second.
    const due = (incoming[index] as number) + part.leftOver;
    const arrived = scenario.engine === 'events' ? Math.floor(due) : due;
    part.leftOver = due - arrived;
    const done = station.step(now, 1, arrived, own);
    for (const { to, factor } of component.calls) incoming[to] = (incoming[to] ?? 0) + factor * done.finished;
    part.outstanding = done.outstanding;
    part.recorder.failed += done.failed;
    note(totals.arrived, now, arrived);
    note(totals.finished, now, done.finished);
    note(totals.failed, now, done.failed);
    note(totals.cpuSeconds, now, done.cpuSeconds);
    note(totals.outstanding, now, done.outstandingMean);
    note(totals.serving, now, part.ground.serving.during(now, 1).count);
  }
  for (let index = parts.length - 1; index >= 0; index -= 1) {
    const part = parts[index] as Part;
    const { component, own, ground, recorder, recent } = part;
    let latencies = own;
    if (component.calls.length > 0 && own.requests > 0) {
      const callees = component.calls.map(({ to, factor }) => ({ factor, latencies: (parts[to] as Part).last }));
      const waitMs = withCalls(own, callees, component.goal.targetMs, part.whole);
      latencies = part.whole;
      // Those that wait for their calls are outstanding at the caller as well.
      part.outstanding += (own.requests * waitMs) / 1000;
    }
    if (part.isCalled && latencies.requests > 0) {
      part.last.clear();
      part.last.add(latencies);
    }
    recent.add(latencies);
    const { count, cpu } = ground.serving.during(now, 1);
    recorder.second(now, latencies, cpu, ground.allottedCpu, count);
  }
}

function note(total: Float64Array, now: number, value: number): void {
  total[now + 1] = (total[now] as number) + value;
}
