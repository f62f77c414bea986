import type { Logger } from 'pino';
import type { CpuProfilerHandle, NativeHost } from '../native/index.js';
import { ProfileRecorder } from './profiles/recorder.js';

/** What measures the instances of this host; null is what its kernel does not let us have. */
export interface Profilers {
  cpu: CpuProfilerHandle | null;
  recorder: ProfileRecorder | null;
  /** Why there is no CPU time by BPF; null when there is. */
  cpuProblem: string | null;
  /** Why there are no stacks; null when there are, or nobody wants them. */
  stacksProblem: string | null;
}

export interface ProfilersInput {
  native: NativeHost;
  /** Of the clock of each CPU; 0: no stacks are taken. */
  hertz: number;
  /** Where profiles are kept. */
  folder: string;
  clock: () => number;
  log: Logger;
}

export const STACKS_REMEDY =
  'run as root (CAP_BPF, CAP_PERFMON) on Linux 5.14 or newer with CONFIG_PERF_EVENTS=y and CONFIG_DEBUG_INFO_BTF=y';

/** Without BPF the cgroup's own accounting, which is coarser in time, stands in for CPU time; for stacks nothing does. */
export function startProfilers(input: ProfilersInput): Profilers {
  const cpu = input.native.createProfiler();
  const cpuProblem = problemOf(() => cpu.start());
  if (cpuProblem !== null) cpu.close();
  const started = cpuProblem === null ? cpu : null;
  if (input.hertz === 0) return { cpu: started, cpuProblem, recorder: null, stacksProblem: null };
  const { native, hertz, ...rest } = input;
  const profiler = native.createStackProfiler();
  const stacksProblem = problemOf(() => profiler.start(hertz, true));
  if (stacksProblem !== null) return { cpu: started, cpuProblem, recorder: null, stacksProblem };
  return { cpu: started, cpuProblem, recorder: new ProfileRecorder({ ...rest, profiler, hertz }), stacksProblem };
}

function problemOf(start: () => void): string | null {
  try {
    start();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
