import { readFile, writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { PolicyName } from '../../coordinator/simulator/policies.js';
import type { Setup } from '../../coordinator/simulator/setup.js';
import type { Trace } from '../../coordinator/simulator/trace.js';
import { ShoalError } from '../../protocol/errors.js';
import { type Io, printJson, printLines, tableWidth } from '../io.js';
import { renderSimulations, type SimulatedRun } from '../render/simulate.js';
import { examples, parseWhole } from '../session.js';
import { readManifest } from './apply.js';

const POLICIES: readonly PolicyName[] = ['shoal', 'hpa', 'kpa', 'static', 'oracle'];
/** Up to so many requests are played one by one; beyond that by formulas. */
const EVENTS_MAX = 20_000_000;
/**
 * Kubernetes' own objective: 99 % of pods start within 5 s (sig-scalability, pod start-up latency). The median is not
 * given there and taken as half of it.
 */
const START_KUBERNETES = { p50: 2.5, p99: 5 };

interface Options {
  trace: string;
  policy: string;
  compare?: true;
  scale: string;
  seed: string;
  tick: string;
  interval?: string;
  speed?: string;
  from?: string;
  to?: string;
  cpu: string;
  variation: string;
  latency: string;
  percentile: string;
  app?: string;
  workload?: string;
  start: string;
  engine: string;
  noise: string;
  burst: string;
  failHostAt: string[];
  html?: string;
}

export function addSimulate(program: Command, io: Io): void {
  program
    .command('simulate')
    .summary('try a load on Shoal and on other autoscalers')
    .description(
      'Play a trace of load against the code of the live loop, or against another policy, in a modelled cluster. Needs no coordinator.',
    )
    .requiredOption('--trace <file>', 'rows "time,value"; times in seconds or as dates')
    .option('--policy <names>', `of ${POLICIES.join(', ')}; several with commas`, 'shoal')
    .option('--compare', 'all policies')
    .option('--scale <instances>', 'so many instances of full size are needed at the peak', '20')
    .option('--seed <number>', 'the same seed, the same numbers', '1')
    .option('--tick <seconds>', 'how often Shoal plans', '1')
    .option('--interval <seconds>', 'the rows are so far apart, whatever their times say')
    .option('--speed <factor>', 'play the trace so many times faster')
    .option('--from <seconds>', 'leave out what comes before')
    .option('--to <seconds>', 'leave out what comes after')
    .option('--cpu <ms>', 'CPU time of a request on average', '5')
    .option('--variation <number>', 'standard deviation of that CPU time in parts of it', '1')
    .option('--latency <ms>', 'objective: not longer than this', '50')
    .option('--percentile <number>', 'for so many of 100 requests in each minute', '99')
    .option('--app <file>', 'manifest of an app instead of the one component; needs --workload')
    .option('--workload <file>', 'what the components of the app do for a request')
    .addOption(
      new Option(
        '--start <kind>',
        'time that a new instance needs: as Shoal for all, or 2.5 s (p99 5 s) for hpa and kpa',
      )
        .choices(['equal', 'kubernetes'])
        .default('equal'),
    )
    .addOption(
      new Option('--engine <kind>', 'each request by itself, or formulas for each second; auto: by their number')
        .choices(['auto', 'events', 'flow'])
        .default('auto'),
    )
    .option('--noise <share>', 'error of what is measured of an instance', '0.02')
    .option('--burst <number>', 'how much the rate wanders within seconds, as the deviation of its logarithm', '0')
    .option('--fail-host-at <seconds[:host]>', 'a host dies; can be given again', collect, [])
    .option('--html <file>', 'write a page with plots')
    .addHelpText(
      'after',
      examples([
        ['shoal simulate --trace day.csv', 'how Shoal would do'],
        [
          'shoal simulate --trace day.csv --compare --html day.html',
          'beside HPA, KPA, the peak, and who knows the future',
        ],
        ['shoal simulate --trace day.csv --app shoal.yaml --workload load.yaml --json', 'a whole app'],
      ]),
    )
    .action(async (options: Options, command: Command) => {
      const { json = false } = command.optsWithGlobals<{ json?: boolean }>();
      const runs = await runAll(options);
      if (options.html !== undefined) {
        const { renderPage } = await import('../../coordinator/simulator/page.js');
        await write(options.html, renderPage(`${options.trace}, at most ${options.scale} instances`, runs));
      }
      if (json)
        printJson(
          io,
          runs.map(({ rows: _rows, ...rest }) => rest),
        );
      else printLines(io, renderSimulations(runs, tableWidth(io), io.paint));
    });
}

async function runAll(options: Options): Promise<SimulatedRun[]> {
  const { makePolicy, POLICY_DEFAULTS } = await import('../../coordinator/simulator/policies.js');
  const { makeScenario, START_SHOAL } = await import('../../coordinator/simulator/setup.js');
  const { simulate } = await import('../../coordinator/simulator/simulate.js');
  const policies = options.compare === true ? POLICIES : options.policy.split(',').map(policyOf);
  const app = await appOf(options);
  const failures = options.failHostAt.map(failureOf);
  const setup: Setup = {
    trace: await traceOf(options),
    scale: parseWhole(options.scale, '--scale', 1, 400),
    seed: parseWhole(options.seed, '--seed', 0, 2 ** 31),
    burst: parseNumber(options.burst, '--burst', 0, 3),
    noise: parseNumber(options.noise, '--noise', 0, 1),
    start: START_SHOAL,
    engine: 'flow',
    failures,
  };
  const scenario = makeScenario(app, setup);
  const hosts = scenario.hosts.map(({ name }) => name);
  for (const { host } of failures) {
    if (!hosts.includes(host))
      throw new ShoalError('SHOAL_E_USAGE', `--fail-host-at: there is no host ${host}; there are ${hosts.join(', ')}`);
  }
  const requests = scenario.arrived.reduce((sum, each) => sum + each, 0);
  const few = requests <= EVENTS_MAX;
  const engine = options.engine === 'events' || (options.engine === 'auto' && few) ? 'events' : 'flow';
  const tickSeconds = parseWhole(options.tick, '--tick', 1, 60);
  return policies.map((policy) => {
    const own =
      options.start === 'kubernetes' && (policy === 'hpa' || policy === 'kpa') ? START_KUBERNETES : START_SHOAL;
    const given = { ...scenario, start: own, engine } as const;
    const { components, rows } = simulate(given, makePolicy(policy, given, { ...POLICY_DEFAULTS, tickSeconds }));
    return { policy, seed: setup.seed, engine, startSeconds: own, components, rows };
  });
}

async function traceOf(options: Options): Promise<Trace> {
  const { lengthOf, parseTrace, partOf, spedUp, withInterval } = await import('../../coordinator/simulator/trace.js');
  let trace = parseTrace(await read(options.trace, '--trace'), options.trace);
  if (options.interval !== undefined)
    trace = withInterval(trace, parseNumber(options.interval, '--interval', 0.001, 10_000_000));
  if (options.speed !== undefined) trace = spedUp(trace, parseNumber(options.speed, '--speed', 0.001, 1_000_000));
  if (options.from !== undefined || options.to !== undefined) {
    const most = lengthOf(trace);
    const from = parseNumber(options.from ?? '0', '--from', 0, most);
    trace = partOf(trace, from, parseNumber(options.to ?? String(most), '--to', from, 1e12));
  }
  const seconds = lengthOf(trace);
  if (seconds < 60 || seconds > 400 * 86_400) {
    const found = `the trace is ${seconds} s long; one of a minute to 400 days can be simulated`;
    throw new ShoalError(
      'SHOAL_E_USAGE',
      `${options.trace}: ${found} (--interval, --speed, --from and --to change it)`,
    );
  }
  return trace;
}

async function appOf(
  options: Options,
): Promise<Parameters<typeof import('../../coordinator/simulator/setup.js').makeScenario>[0]> {
  const { simpleApp } = await import('../../coordinator/simulator/setup.js');
  const { parseWorkload } = await import('../../coordinator/simulator/workload.js');
  if (options.app === undefined && options.workload === undefined) {
    const percentile = parseNumber(options.percentile, '--percentile', 1, 99.99);
    const goal = { percentile, targetMs: parseNumber(options.latency, '--latency', 0.1, 600_000) };
    const cpuSeconds = parseNumber(options.cpu, '--cpu', 0.01, 600_000) / 1000;
    return simpleApp(goal, cpuSeconds, parseNumber(options.variation, '--variation', 0, 10));
  }
  if (options.app === undefined || options.workload === undefined)
    throw new ShoalError(
      'SHOAL_E_USAGE',
      '--app and --workload go together: the manifest, and the work of its components',
    );
  const manifest = await readManifest(options.app);
  const components = parseWorkload(await read(options.workload, '--workload'), options.workload, manifest);
  return { manifest, components };
}

function policyOf(text: string): PolicyName {
  const found = POLICIES.find((each) => each === text);
  if (found !== undefined) return found;
  throw new ShoalError('SHOAL_E_USAGE', `--policy: there is no "${text}"; take of ${POLICIES.join(', ')}`);
}

function failureOf(text: string): { atSeconds: number; host: string } {
  const [seconds = '', host = 'host-1', ...more] = text.split(':');
  if (more.length > 0)
    throw new ShoalError('SHOAL_E_USAGE', `--fail-host-at: "${text}" is not SECONDS or SECONDS:HOST`);
  return { atSeconds: parseWhole(seconds, '--fail-host-at', 1, 400 * 86_400), host };
}

function parseNumber(text: string, what: string, min: number, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= min && value <= max) return value;
  throw new ShoalError('SHOAL_E_USAGE', `${what} must be a number from ${min} to ${max}, not "${text}"`);
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new ShoalError('SHOAL_E_USAGE', `${what}: cannot read ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (error) {
    throw new ShoalError('SHOAL_E_USAGE', `--html: cannot write ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
