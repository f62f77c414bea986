import type { Logger } from 'pino';
import type { ActivityProfilerHandle, CpuProfilerHandle, NativeHost } from '../native/index.js';
import { ProfileRecorder } from './profiles/recorder.js';

/** What measures the instances of this host; null is what its kernel does not let us have. */
export interface Profilers {
  cpu: CpuProfilerHandle | null;
  recorder: ProfileRecorder | null;
  activity: ActivityProfilerHandle | null;
  /** Why there is no CPU time by BPF; null when there is. */
  cpuProblem: string | null;
  /** Why there are no stacks; null when there are, or nobody wants them. */
  stacksProblem: string | null;
  /** What of it is left out here, and why: counts of what instances do, and ways of taking stacks. */
  profilerProblems: Record<string, string>;
}

export interface ProfilersInput {
  native: NativeHost;
  /** Of the clock of each CPU; 0: no stacks are taken. */
  hertz: number;
  /** Whether system calls are counted. */
  systemCalls: boolean;
  /** Where profiles are kept. */
  folder: string;
  clock: () => number;
  log: Logger;
}

export const STACKS_REMEDY =
  'run as root (CAP_BPF, CAP_PERFMON) on Linux 5.14 or newer with CONFIG_PERF_EVENTS=y and CONFIG_DEBUG_INFO_BTF=y';

const PROGRAMS_REMEDY = 'run as root (CAP_BPF, CAP_PERFMON) on a kernel with CONFIG_DEBUG_INFO_BTF=y';
/** By what the native part calls them; for what is not here it is PROGRAMS_REMEDY. */
const REMEDIES: Record<string, string> = {
  'inlined functions in profiles': 'apt-get install libdw1 (Debian 13 and newer: libdw1t64)',
  'page faults by mapping': `${PROGRAMS_REMEDY}, Linux 5.17 or newer`,
  'stacks of code without frame pointers': `${PROGRAMS_REMEDY}, x86-64 with Linux 5.17 or newer`,
  'network bytes': `${PROGRAMS_REMEDY}, Linux 6.3 or newer, or one with BPF trampolines (fentry)`,
};

/** What to do about a part of the profiler that is left out here. */
export function profilerRemedy(part: string): string {
  return REMEDIES[part] ?? PROGRAMS_REMEDY;
}

/** Without BPF the cgroup's own accounting, which is coarser in time, stands in for CPU time; for stacks nothing does. */
export function startProfilers(input: ProfilersInput): Profilers {
  const cpu = input.native.createProfiler();
  const cpuProblem = problemOf(() => cpu.start());
  if (cpuProblem !== null) cpu.close();
  const started = cpuProblem === null ? cpu : null;
  const { activity, profilerProblems: problems } = startActivity(input);
  const first = { cpu: started, cpuProblem, activity };
  if (input.hertz === 0) return { ...first, profilerProblems: problems, recorder: null, stacksProblem: null };
  const { native, hertz, systemCalls: _, ...rest } = input;
  const profiler = native.createStackProfiler();
  let missing: Record<string, string> = {};
  const stacksProblem = problemOf(() => {
    missing = profiler.start(hertz, true);
  });
  if (stacksProblem !== null) return { ...first, profilerProblems: problems, recorder: null, stacksProblem };
  const recorder = new ProfileRecorder({ ...rest, profiler, activity, hertz });
  return { ...first, profilerProblems: { ...problems, ...missing }, recorder, stacksProblem };
}

function startActivity({ native, systemCalls }: ProfilersInput): Pick<Profilers, 'activity' | 'profilerProblems'> {
  const activity = native.createActivityProfiler();
  try {
    return { activity, profilerProblems: activity.start(systemCalls) };
  } catch (error) {
    return { activity: null, profilerProblems: { 'what instances do': (error as Error).message } };
  }
}

function problemOf(start: () => void): string | null {
  try {
    start();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}
