import type { InstanceRecord } from './instance-table.js';
import type { Ready } from './intake.js';

/** A resize that an agent could not do and reports the old size instead: for a while the plan goes by what there is. */
export interface RefusedResize {
  /** For so many ticks the instances have had less than they shall have. */
  shortTicks: number;
  /** Cores that each instance has then. */
  cpu: number;
  /** Until it is tried again. */
  untilMs: number;
}

/** Of what they shall have; less than that for so many ticks is no report that is late. */
const SHORT_SHARE = 0.95;
const SHORT_TICKS = 5;
/** What fails once fails again, and each try makes the plan larger for some seconds; longer than any count is held. */
const REFUSED_MS = 900_000;

export function newRefusedResize(): RefusedResize {
  return { shortTicks: 0, cpu: 0, untilMs: 0 };
}

/** Takes in a tick; `refused` is changed in place. `plannedCpu`: cores that each shall have, as far as its host has room. */
export function noteRefusal(
  refused: RefusedResize,
  ready: Ready,
  instances: readonly InstanceRecord[] | undefined,
  plannedCpu: number,
  nowMs: number,
): void {
  const cpu = ready.count > 0 ? ready.cpu / ready.count : plannedCpu;
  refused.shortTicks = isShort(cpu, plannedCpu) && isShort(cpu, meanCpuOf(instances)) ? refused.shortTicks + 1 : 0;
  if (refused.shortTicks <= SHORT_TICKS) return;
  refused.cpu = cpu;
  refused.untilMs = nowMs + REFUSED_MS;
}

/** Cores that an instance gets at most for now. */
export function refusedCpuOf({ cpu, untilMs }: RefusedResize, nowMs: number): number {
  return nowMs < untilMs ? cpu : Number.POSITIVE_INFINITY;
}

function isShort(cpu: number, shall: number): boolean {
  return cpu < shall * SHORT_SHARE;
}

/** Of those that stay, as they shall be. */
function meanCpuOf(instances: readonly InstanceRecord[] = []): number {
  const staying = instances.filter((each) => each.draining === undefined);
  return staying.reduce((sum, { size }) => sum + size.cpu, 0) / Math.max(1, staying.length);
}
