import { bootRack, type Rack } from '../lab/rack.js';
import { retry } from '../until.js';
import { buildRelayBench } from './relay-bench.js';
import { compare, type Row } from './rows.js';

const ROUNDS = 3;
const TRIPS = 200;
const LARGE_BYTES = 64 * 1024;
const TRANSFERS = 200;
const SMALL_BYTES = 64;
const PORT = 18_600;
const BARE_PORT = 18_650;
const IPERF_PORT = 18_700;
const PERFTEST_PORT = 18_515;
const IPERF_SECONDS = 2;
const STEP_MS_MAX = 300_000;
const BOOT_MS_MAX = 120_000;
/** Longer than most trips here; who is slower sleeps, rather than starve the other machine. */
const SPIN_US = 2_000;
const MB_PER_GBIT = 125;

interface Sample {
  p50: number;
  p99: number;
  max: number;
}

/**
 * A channel between two hosts of the virtual rack through both relays, beside programs that use the same carrier bare:
 * soft-RoCE beside perftest, TCP beside a socket and iperf3. One way, in microseconds, and MB/s; ratios within one
 * machine, never absolute times. Ours has four threads in the way (two instances, two relays), the peers two; the
 * carrier alone, without rings and relays, has two as well.
 */
export async function benchFabricRack(): Promise<Row[]> {
  const program = await buildRelayBench();
  const rack = await bootRack({ hosts: 2, cpus: 2, bootMs: BOOT_MS_MAX });
  try {
    return await measure(rack, program);
  } finally {
    await rack.stop();
  }
}

async function measure(rack: Rack, program: string): Promise<Row[]> {
  const server = rack.start('h2', [program, 'serve', '10.0.0.2', String(PORT)], { timeMs: 2 * STEP_MS_MAX });
  await listens(rack, PORT);
  const ours = async (carrier: string, mode: string, spinUs: number, port = PORT) => {
    const [size, count] = mode === 'lat' ? [SMALL_BYTES, TRIPS] : [LARGE_BYTES, TRANSFERS];
    const words = [program, 'run', '10.0.0.1', '10.0.0.2', port, carrier, mode, size, count, spinUs].map(String);
    return JSON.parse(await output(rack, words)) as Sample;
  };
  const latency = (carrier: string, spinUs: number) => () => ours(carrier, 'lat', spinUs);
  const bandwidth = (carrier: string) => async () => (await ours(carrier, 'bw', 0)).p50;
  // On emulated machines that are starved soft-RoCE ends queues now and then. A relay makes others; these two try again.
  const bare = (mode: string, spinUs: number) => () =>
    retry('measured by the carrier alone', STEP_MS_MAX, async () => {
      const alone = rack.start('h2', [program, 'serve', '10.0.0.2', String(BARE_PORT)], { timeMs: STEP_MS_MAX });
      await listens(rack, BARE_PORT);
      try {
        return await ours('bare-verbs', mode, spinUs, BARE_PORT);
      } finally {
        await alone.kill();
        await alone.result;
      }
    });
  const perftest = (argv: string[]) => () =>
    retry(`measured by ${argv[0]}`, STEP_MS_MAX, async () => perftestLine(await pair(rack, argv, PERFTEST_PORT)));
  const lat = ['-d', 'rxe0', '-x', '1', '-F', '-s', String(SMALL_BYTES), '-n', String(TRIPS)];
  const bw = ['-d', 'rxe0', '-x', '1', '-F', '-s', String(LARGE_BYTES), '-n', String(TRANSFERS), '--report_gbits'];

  const rows: Row[] = [];
  const trips = async (what: string, mine: () => Promise<Sample>, peer: string, theirs: () => Promise<Sample>) => {
    const [own, other] = await alternate(mine, theirs);
    for (const q of ['p50', 'p99', 'max'] as const) {
      const [a, b] = [own.map((each) => each[q]), other.map((each) => each[q])];
      rows.push(compare(`64 B one way, ${what}, ${q}`, 'µs', 0.5, a, peer, b));
    }
  };
  const rate = async (what: string, mine: () => Promise<number>, peer: string, theirs: () => Promise<number>) => {
    const [own, other] = await alternate(mine, theirs);
    rows.push(compare(`64 KiB records, ${what}`, 'MB/s', 0.5, own, peer, other));
  };
  const typical = (argv: string[]) => async () => {
    const [, , , max = 0, p50 = 0, , , p99 = 0] = await perftest(argv)();
    return { p50, p99, max };
  };
  await trips('verbs, sleeping', latency('verbs', 0), 'ib_send_lat -e', typical(['ib_send_lat', ...lat, '-e']));
  await trips('verbs, spinning', latency('verbs', SPIN_US), 'ib_write_lat', typical(['ib_write_lat', ...lat]));
  await trips(
    'verbs, the carrier alone, polling',
    bare('lat', SPIN_US),
    'ib_write_lat',
    typical(['ib_write_lat', ...lat]),
  );
  await trips('TCP, sleeping', latency('tcp', 0), 'bare socket', latency('socket', 0));
  const peerBw = (argv: string[]) => async () => ((await perftest([...argv, ...bw])())[3] ?? 0) * MB_PER_GBIT;
  // perftest's writes can only poll, at the sender alone: nobody at the other end hears of them. Of what it sends both hear, as of ours.
  await rate('verbs', bandwidth('verbs'), 'ib_write_bw, polling', peerBw(['ib_write_bw']));
  await rate('verbs', bandwidth('verbs'), 'ib_send_bw -e', peerBw(['ib_send_bw', '-e']));
  const bareBw = (spinUs: number) => async () => (await bare('bw', spinUs)()).p50;
  // Nor does the far end of perftest's writes use any processor; that of what it sends polls.
  await rate('verbs, the carrier alone, receiver sleeps', bareBw(0), 'ib_write_bw, polling', peerBw(['ib_write_bw']));
  await rate(
    'verbs, the carrier alone, receiver polls',
    bareBw(SPIN_US),
    'ib_send_bw, polling',
    peerBw(['ib_send_bw']),
  );
  await rate('TCP', bandwidth('tcp'), 'iperf3', async () => await iperf(rack));
  await rate('TCP', bandwidth('tcp'), 'bare socket', bandwidth('socket'));
  await server.kill();
  await server.result;
  return rows;
}

/** One after the other, so that both meet the same moods of the machine. */
async function alternate<T>(ours: () => Promise<T>, theirs: () => Promise<T>): Promise<[T[], T[]]> {
  const [own, other]: [T[], T[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    own.push(await ours());
    other.push(await theirs());
  }
  return [own, other];
}

/** The numbers of perftest's line of results. */
function perftestLine(stdout: string): number[] {
  const line = stdout.split('\n').find((each) => /^ *[0-9]+ +[0-9]+ +[0-9.]+/.test(each));
  if (line === undefined) throw new Error(`perftest printed no result:\n${stdout}`);
  return line.trim().split(/\s+/).map(Number);
}

async function iperf(rack: Rack): Promise<number> {
  const server = rack.start('h2', ['iperf3', '-s', '-1', '-p', String(IPERF_PORT)], { timeMs: STEP_MS_MAX });
  await listens(rack, IPERF_PORT);
  const words = ['iperf3', '-J', '-c', '10.0.0.2', '-p', String(IPERF_PORT), '-t', String(IPERF_SECONDS), '-l', '64K'];
  const report = JSON.parse(await output(rack, words)) as { end: { sum_received: { bits_per_second: number } } };
  await server.result;
  return report.end.sum_received.bits_per_second / 8e6;
}

/** The same program as server in h2 and as client in h1; answers the client's output. */
async function pair(rack: Rack, argv: string[], port: number): Promise<string> {
  const server = rack.start('h2', argv, { timeMs: STEP_MS_MAX });
  await listens(rack, port);
  try {
    return await output(rack, [...argv, '10.0.0.2']);
  } catch (error) {
    await server.kill();
    throw error;
  } finally {
    await server.result;
  }
}

async function listens(rack: Rack, port: number): Promise<void> {
  const script = `until ss -ltnH "sport = :${port}" | grep -q .; do sleep 0.2; done`;
  await rack.run('h2', ['sh', '-c', script], { timeMs: STEP_MS_MAX });
}

async function output(rack: Rack, argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await rack.run('h1', argv, { timeMs: STEP_MS_MAX });
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}
