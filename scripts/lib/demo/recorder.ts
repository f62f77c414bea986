import type { ComponentView, EventView, InstanceView } from '../../../protocol/http.js';

export interface Second {
  atMs: number;
  components: ComponentView[];
  instances: InstanceView[];
}

/** What the run looked like, second by second. */
export class Recorder {
  readonly seconds: Second[] = [];

  note(atMs: number, components: ComponentView[], instances: InstanceView[]): void {
    this.seconds.push({ atMs, components, instances });
  }

  /** CPU-seconds allotted to instances, used by them, and those of a fixed allotment of each component's peak. */
  cpuSeconds(): { allotted: number; used: number; fixed: number } {
    let allotted = 0;
    let used = 0;
    let total = 0;
    const peaks = new Map<string, number>();
    for (const [i, { atMs, instances }] of this.seconds.entries()) {
      const seconds = (atMs - (this.seconds[i - 1]?.atMs ?? atMs)) / 1000;
      total += seconds;
      const now = new Map<string, number>();
      for (const { component, size, cpuUsed } of instances) {
        now.set(component, (now.get(component) ?? 0) + size.cpu);
        allotted += size.cpu * seconds;
        used += cpuUsed * seconds;
      }
      for (const [component, cpu] of now) peaks.set(component, Math.max(peaks.get(component) ?? 0, cpu));
    }
    const fixed = [...peaks.values()].reduce((sum, peak) => sum + peak, 0) * total;
    return { allotted, used, fixed };
  }

  /** Of one component, a number for each second. */
  series(component: string, of: (view: ComponentView) => number): number[] {
    return this.seconds.flatMap(({ components }) => {
      const view = components.find((each) => each.component === component);
      return view === undefined ? [] : [of(view)];
    });
  }
}

/** From the coordinator's decision to create an instance until it was ready, in ms, of all that became ready. */
export function decisionToServing(events: readonly EventView[]): number[] {
  const created = new Map<string, number>();
  const took: number[] = [];
  for (const { kind, instance, atMs } of events) {
    if (kind === 'created') created.set(instance, atMs);
    const start = created.get(instance);
    if (kind !== 'ready' || start === undefined) continue;
    took.push(atMs - start);
    created.delete(instance);
  }
  return took;
}

/** The quantile (0 … 1) of the values by nearest rank; NaN of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}
