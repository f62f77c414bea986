import { cpus, release, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isIsolated, mountedAt, runIsolated } from '../agent/isolate.js';
import { native } from '../native/index.js';
import { benchAgent } from './lib/bench/agent.js';
import { benchBrainOnline } from './lib/bench/brain-online.js';
import { benchBrainScale } from './lib/bench/brain-scale.js';
import { benchProfiler } from './lib/bench/profiler.js';
import { type Row, renderRows } from './lib/bench/rows.js';
import { benchStart } from './lib/bench/start.js';

const DIST = resolve(fileURLToPath(import.meta.url), '../..');
const BENCHES: Record<string, () => Promise<Row[]>> = {
  start: () => benchStart(DIST),
  agent: () => benchAgent(DIST),
  profiler: () => benchProfiler(),
  'brain-scale': () => benchBrainScale(),
  'brain-online': () => benchBrainOnline(),
};
const USAGE = `usage: scripts/bench NAME… [DIR] [--json]
Prints figures next to a peer's, measured in the same run. NAME: ${Object.keys(BENCHES).join(', ')}, all.
DIR, with a slash in it, holds traces, which brain-online needs; SHOAL_TRACES may name it as well.`;

async function main(): Promise<number> {
  const words = process.argv.slice(2);
  const json = words.includes('--json');
  const folder = words.find((word) => word.includes('/'));
  if (folder !== undefined) process.env.SHOAL_TRACES = folder;
  const asked = words.filter((word) => word !== '--json' && word !== folder);
  const names = asked.includes('all') ? Object.keys(BENCHES) : asked;
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
  if (names.length === 0 || unknown.length > 0) {
    process.stderr.write(`${unknown.map((name) => `unknown benchmark ${name}\n`).join('')}${USAGE}\n`);
    return 2;
  }
  // crun needs cgroup v2 where it looks for it, also on hosts that have version 1 there.
  if (!isIsolated()) return runIsolated(fileURLToPath(import.meta.url), words);
  if (mountedAt('/sys/fs/cgroup') !== 'cgroup2') native.mountCgroup2('/sys/fs/cgroup');
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}`;
  if (!json) process.stdout.write(`${machine}\n`);
  for (const name of names) {
    const rows = await (BENCHES[name] as () => Promise<Row[]>)();
    if (json) for (const row of rows) process.stdout.write(`${JSON.stringify({ bench: name, machine, ...row })}\n`);
    else process.stdout.write(`\n${name}\n\n${renderRows(rows).join('\n')}\n`);
  }
  return 0;
}

process.exit(await main());
