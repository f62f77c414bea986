import { ShoalError } from '../../protocol/errors.js';
import type { Component, Manifest } from '../../protocol/manifest.js';
import { parseTimeMs } from '../../protocol/manifest-units.js';
import { type Plain, pointerOf, readTree, type Tree } from '../../protocol/manifest-yaml.js';
import type { Goal, SimulatedComponent } from './scenario.js';

/** Where neither workload nor manifest say how fast a component must be: p99 of so many times its mean work. */
const GOAL_DEFAULT = { percentile: 99, times: 10 };
const VARIATION_MAX = 10;
const FACTOR_MAX = 1000;

/**
 * Reads what the components of an app do for a request:
 *
 *     entry: front
 *     components:
 *       front: { cpu: 4ms, calls: { index: 1.5 } }
 *       index: { cpu: 2ms, variation: 0.5, latency: { p99: 40ms } }
 *
 * Answers them with callers before callees, the entry first. A fault is refused with its line.
 */
export function parseWorkload(text: string, file: string, manifest: Manifest): SimulatedComponent[] {
  const tree = readTree(text);
  const refuse = refuser(tree, file);
  const [fault] = tree.faults;
  if (fault !== undefined) refuse(fault.pointer, fault.message);
  const root = mapAt(tree.plain, '', ['entry', 'components'], refuse);
  const given = mapAt(root.components, '/components', Object.keys(manifest.components), refuse);
  const entry = root.entry;
  if (typeof entry !== 'string' || given[entry] === undefined)
    return refuse('/entry', 'expected the name of the component that the requests of the trace go to');
  const order = orderOf(given, entry, refuse);
  const parts = order.map((name) => {
    const pointer = pointerOf('/components', name);
    const at = mapAt(given[name], pointer, ['cpu', 'variation', 'calls', 'latency'], refuse);
    const cpuMs = timeAt(at.cpu, `${pointer}/cpu`, refuse);
    const variation = numberAt(at.variation ?? 1, `${pointer}/variation`, VARIATION_MAX, refuse);
    const described = manifest.components[name] as Component;
    const calls = Object.entries(callsOf(given, name, refuse)).map(([callee, factor]) => {
      if (!described.calls.includes(callee))
        refuse(pointerOf(`${pointer}/calls`, callee), `the manifest does not grant calls from ${name} to ${callee}`);
      return { to: order.indexOf(callee), factor };
    });
    const goal = goalOf(at.latency, described, cpuMs, `${pointer}/latency`, refuse);
    return { name, described, service: { cpuSeconds: cpuMs / 1000, variation }, calls, goal };
  });
  return parts;
}

type Refuse = (pointer: string, message: string) => never;
type PlainMap = { [key: string]: Plain };

function refuser(tree: Tree, file: string): Refuse {
  return (pointer, message) => {
    const place = tree.places.get(pointer);
    const fault = tree.faults.find((each) => each.pointer === pointer);
    const offset = fault?.offset ?? place?.key ?? place?.value ?? 0;
    const { line, col } = tree.lines.linePos(offset);
    const where = pointer === '' ? '' : `${pointer.slice(1).replaceAll('/', '.')}: `;
    throw new ShoalError('SHOAL_E_USAGE', `${file}:${line}:${col}: ${where}${message}`);
  };
}

function mapAt(value: Plain | undefined, pointer: string, keys: readonly string[], refuse: Refuse): PlainMap {
  if (value === undefined || value === null || typeof value !== 'object' || Array.isArray(value))
    return refuse(pointer, `expected a map with ${keys.join(', ')}`);
  for (const key of Object.keys(value)) {
    if (!keys.includes(key)) refuse(pointerOf(pointer, key), `unknown name; expected one of ${keys.join(', ')}`);
  }
  return value;
}

function timeAt(value: Plain | undefined, pointer: string, refuse: Refuse): number {
  const ms = typeof value === 'string' ? parseTimeMs(value) : Number.NaN;
  if (!(ms > 0 && ms <= 600_000)) refuse(pointer, 'expected a time above 0 and up to 600s, such as 4ms');
  return ms;
}

function numberAt(value: Plain, pointer: string, max: number, refuse: Refuse): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= max)) return refuse(pointer, `expected 0 to ${max}`);
  return value;
}

function callsOf(given: PlainMap, name: string, refuse: Refuse): Record<string, number> {
  const pointer = pointerOf('/components', name);
  const calls = (given[name] as PlainMap | null)?.calls ?? {};
  const map = mapAt(calls, `${pointer}/calls`, Object.keys(given), refuse);
  return Object.fromEntries(
    Object.entries(map).map(([callee, factor]) => [
      callee,
      numberAt(factor, pointerOf(`${pointer}/calls`, callee), FACTOR_MAX, refuse),
    ]),
  );
}

/** Callers before callees; who is not reached from the entry comes last, without any request. */
function orderOf(given: PlainMap, entry: string, refuse: Refuse): string[] {
  const done: string[] = [];
  const open = new Set<string>();
  const visit = (name: string) => {
    if (done.includes(name)) return;
    if (open.has(name))
      refuse(pointerOf('/components', name), 'the calls go round in a circle, which is not simulated');
    open.add(name);
    for (const callee of Object.keys(callsOf(given, name, refuse))) visit(callee);
    done.push(name);
  };
  const others = Object.keys(given).filter((name) => name !== entry);
  for (const name of [...others, entry]) visit(name);
  const order = done.reverse();
  if (order[0] !== entry)
    refuse('/entry', `${order[0] as string} calls it or stands beside it; the entry must be called by nobody`);
  return order;
}

function goalOf(
  latency: Plain | undefined,
  described: Component,
  cpuMs: number,
  pointer: string,
  refuse: Refuse,
): Goal {
  if (latency !== undefined) {
    const [key = '', ...more] = Object.keys(latency ?? {});
    const percentile = Number(key.slice(1));
    if (!key.startsWith('p') || !(percentile > 0 && percentile < 100) || more.length > 0)
      refuse(pointer, 'expected one percentile with its time, such as { p99: 40ms }');
    return { percentile, targetMs: timeAt((latency as PlainMap)[key], `${pointer}/${key}`, refuse) };
  }
  const { objective } = described;
  if (objective.kind === 'latency') return { percentile: objective.percentile, targetMs: objective.targetMs };
  return { percentile: GOAL_DEFAULT.percentile, targetMs: GOAL_DEFAULT.times * cpuMs };
}
