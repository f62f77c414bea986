import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { LabError } from './lib/lab/errors.js';
import type { Stream } from './lib/lab/output.js';
import { LinePrefixer } from './lib/lab/prefixer.js';
import { bootRack, HOSTS_MAX, LAB_FAILED, type Rack } from './lib/lab/rack.js';

const USAGE = `usage: scripts/lab run [--hosts N] [--all] [--cpus N] [--memory MIB] [--time SECONDS] [--systemd] [--out FOLDER] -- COMMAND...
Boots machines h1, h2, ... with Debian's kernel on this host's own root file system, runs the command in h1, and ends them.

  --hosts N       how many machines, 1 to ${HOSTS_MAX} (1); they are 10.0.0.1, 10.0.0.2, ..., with soft-RoCE as rxe0
  --all           run the command in every machine, each line of output after the machine's name
  --cpus N        of each machine (2)
  --memory MIB    of each machine (1024); what they write is kept there too, and gone at the end
  --time SECONDS  for all, booting included (300)
  --systemd       systemd as the first program
  --out FOLDER    keep output, consoles and core dumps in this new folder; without it they are kept only on failure

The checkout is at its own path. In a machine, \`on HOST COMMAND...\` runs a command on another one.
Exit code: the command's (with --all the first that is not 0); 124 when the time is over; 125 when the lab itself failed.`;

const TIME_OVER = 124;

interface Settings {
  argv: string[];
  all: boolean;
  timeMs: number;
  folder: string;
  keep: boolean;
  rack: { hosts: number; cpus: number; memoryMib: number; systemd: boolean };
}

/** What the words ask for; null when for help. */
async function parse(words: string[]): Promise<Settings | null> {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      hosts: { type: 'string', default: '1' },
      all: { type: 'boolean', default: false },
      cpus: { type: 'string', default: '2' },
      memory: { type: 'string', default: '1024' },
      time: { type: 'string', default: '300' },
      systemd: { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const [verb, ...argv] = positionals;
  if (verb !== 'run' || argv.length === 0) throw new TypeError(USAGE);
  const number = (name: 'hosts' | 'cpus' | 'memory' | 'time', max: number) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 1 || value > max) throw new TypeError(`--${name}: 1 to ${max}`);
    return value;
  };
  const rack = {
    ...{ hosts: number('hosts', HOSTS_MAX), cpus: number('cpus', 64), memoryMib: number('memory', 1_048_576) },
    systemd: values.systemd,
  };
  const timeMs = number('time', 86_400) * 1000;
  const folder = values.out === undefined ? await mkdtemp(join(tmpdir(), 'shoal-lab-')) : resolve(values.out);
  if (values.out !== undefined) await mkdir(folder);
  return { argv, all: values.all, timeMs, folder, keep: values.out !== undefined, rack };
}

/** Runs the command where it shall run; answers the exit code. */
async function runIn(rack: Rack, { argv, all }: Settings, timeMs: number): Promise<number> {
  const codes = (all ? rack.hosts : rack.hosts.slice(0, 1)).map(async (host) => {
    const prefix = all ? `${host} | ` : '';
    const printers = {
      stdout: new LinePrefixer(prefix, process.stdout),
      stderr: new LinePrefixer(prefix, process.stderr),
    };
    const onOutput = (stream: Stream, text: string) => printers[stream].write(text);
    const { code } = await rack.run(host, argv, { timeMs, onOutput });
    for (const printer of Object.values(printers)) printer.end();
    return code;
  });
  return (await Promise.all(codes)).find((code) => code !== 0) ?? 0;
}

async function run(settings: Settings): Promise<number> {
  const { folder, keep, timeMs } = settings;
  const deadline = performance.now() + timeMs;
  // Killed at once this process takes the machines with it; asked to end, it removes its files too.
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ended.abort(signal));
  let rack: Rack | undefined;
  let failed = true;
  try {
    rack = await bootRack({ ...settings.rack, folder, bootMs: timeMs, signal: ended.signal });
    const code = await runIn(rack, settings, Math.max(1, deadline - performance.now()));
    failed = code !== 0 || (await rack.cores()).length > 0;
    return code;
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    say(ended.signal.aborted ? `ended by ${ended.signal.reason}` : error.message);
    return error.kind === 'time' ? TIME_OVER : LAB_FAILED;
  } finally {
    await rack?.stop();
    if (failed || keep) say(`output, consoles and core dumps are in ${folder}`);
    else await rm(folder, { recursive: true });
  }
}

function say(line: string): void {
  process.stderr.write(`lab: ${line}\n`);
}

try {
  const settings = await parse(process.argv.slice(2));
  if (settings === null) process.stdout.write(`${USAGE}\n`);
  else process.exitCode = await run(settings);
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
