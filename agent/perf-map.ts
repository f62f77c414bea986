/**
 * Options by which Node.js tells the names of functions that it compiles, in /tmp/perf-PID.map of its own (V8's flags of
 * the same names): functions alone, and interpreted ones by a place in memory of their own. At the start they cost
 * 25 ms of CPU or so, most of it since V8 takes no compiled code of Node.js' own modules under other options than it was made with,
 * and later none that could be measured; the file takes some kilobytes for each thousand functions out of the instance's memory.
 */
const OPTIONS = '--perf-basic-prof-only-functions --interpreted-frames-native-stack';

/** The environment with the options added for every Node.js within; one that speaks of them itself is left as it is. */
export function withPerfMap(env: Record<string, string>): Record<string, string> {
  const given = env.NODE_OPTIONS ?? '';
  if (given.includes('perf-basic-prof')) return env;
  return { ...env, NODE_OPTIONS: given === '' ? OPTIONS : `${OPTIONS} ${given}` };
}
