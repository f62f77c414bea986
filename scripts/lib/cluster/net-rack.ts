import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { LateLinks, type Lateness } from './late-link.js';

const run = promisify(execFile);

export type Direction = 'in' | 'out' | 'both';

/**
 * Machines as far as the network is concerned: a network namespace each, joined by a bridge in one more, in which the
 * process that makes the rack has to be (see SWITCH_ADDRESS). Everything in them is gone with `close`.
 */
export class NetRack {
  readonly #prefix: string;
  readonly #machines = new Map<string, string>();
  #late: Promise<LateLinks> | null = null;

  private constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** To be called by a process that is in the switch's own namespace. */
  static async make(prefix: string, names: readonly string[]): Promise<NetRack> {
    if (names.length > MACHINES_MAX) throw new Error(`at most ${MACHINES_MAX} machines, not ${names.length}`);
    const rack = new NetRack(prefix);
    await run('ip', ['link', 'set', 'lo', 'up']);
    await run('ip', ['link', 'add', 'switch', 'type', 'bridge']);
    await run('ip', ['address', 'add', `${SWITCH_ADDRESS}/24`, 'dev', 'switch']);
    await run('ip', ['link', 'set', 'switch', 'up']);
    for (const [index, name] of names.entries()) await rack.#add(name, `10.89.0.${index + 10}`);
    return rack;
  }

  addressOf(name: string): string {
    return this.#machines.get(name) as string;
  }

  /** The words that run a command on the machine; it ends with this process. */
  on(name: string, ...words: string[]): string[] {
    return ['setpriv', '--pdeathsig', 'KILL', 'nsenter', `--net=${namespaceFile(this.#namespace(name))}`, ...words];
  }

  /** Packets to the machine, from it, or both are dropped; with a probability below 1, so many of them. */
  async drop(name: string, direction: Direction, probability = 1): Promise<void> {
    const chance = probability < 1 ? ['-m', 'statistic', '--mode', 'random', '--probability', String(probability)] : [];
    const chains = direction === 'both' ? ['INPUT', 'OUTPUT'] : [direction === 'in' ? 'INPUT' : 'OUTPUT'];
    for (const chain of chains) {
      const device = chain === 'INPUT' ? '-i' : '-o';
      await this.#run(name, 'iptables', '-w', '-A', chain, device, 'eth0', ...chance, '-j', 'DROP');
    }
  }

  /** What the machine sends goes at so many kilobits each second. */
  async slow(name: string, kilobits: number): Promise<void> {
    const shape = ['tbf', 'rate', `${kilobits}kbit`, 'burst', '16kb', 'latency', '400ms'];
    await this.#run(name, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', ...shape);
  }

  /** All that the machine sends and receives comes late, out of order, and some of it twice. */
  async late(name: string, lateness: Lateness): Promise<void> {
    this.#late ??= LateLinks.make();
    await (await this.#late).begin(name, lateness);
  }

  /** The network of the machine is as it was at first. */
  async heal(name: string): Promise<void> {
    await (await this.#late)?.end(name);
    for (const chain of ['INPUT', 'OUTPUT']) await this.#run(name, 'iptables', '-w', '-F', chain);
    await this.#run(name, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'noqueue');
  }

  /** What these machines have sent and received since they were made, all together. */
  async bytes(names: readonly string[]): Promise<{ sent: number; received: number }> {
    const { stdout } = await run('ip', ['-statistics', '-json', 'link', 'show']);
    const sums = { sent: 0, received: 0 };
    for (const { ifname, stats64 } of JSON.parse(stdout) as {
      ifname: string;
      stats64: Record<'rx' | 'tx', Counted>;
    }[]) {
      if (!names.includes(ifname)) continue;
      // As the switch sees it.
      sums.sent += stats64.rx.bytes;
      sums.received += stats64.tx.bytes;
    }
    return sums;
  }

  async close(): Promise<void> {
    await (await this.#late)?.close();
    for (const name of this.#machines.keys()) await run('ip', ['netns', 'delete', this.#namespace(name)]);
    this.#machines.clear();
  }

  #namespace(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  async #run(name: string, ...words: string[]): Promise<void> {
    const [program = '', ...rest] = this.on(name, ...words);
    await run(program, rest);
  }

  async #add(name: string, address: string): Promise<void> {
    const namespace = this.#namespace(name);
    await run('ip', ['netns', 'add', namespace]);
    this.#machines.set(name, address);
    await run('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace]);
    await run('ip', ['link', 'set', name, 'master', 'switch', 'up']);
    for (const device of ['lo', 'eth0']) await this.#run(name, 'ip', 'link', 'set', device, 'up');
    await this.#run(name, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
  }
}

interface Counted {
  bytes: number;
}

const MACHINES_MAX = 200;
export const SWITCH_ADDRESS = '10.89.0.1';

export function namespaceFile(namespace: string): string {
  return `/run/netns/${namespace}`;
}

/** Why no rack can be made on this machine, with the remedy; null when one can. Leaves nothing behind. */
export async function rackProblem(): Promise<string | null> {
  const namespace = `probe-${process.pid}`;
  try {
    await run('ip', ['netns', 'add', namespace]);
  } catch (error) {
    return `no network namespace can be made: run as root, with package iproute2 (${(error as Error).message})`;
  }
  const inside = ['nsenter', `--net=${namespaceFile(namespace)}`];
  const needed = [
    ['ip', 'link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1'],
    ['ip', 'link', 'add', 'probe2', 'type', 'bridge'],
    ['iptables', '-w', '-A', 'INPUT', '-m', 'statistic', '--mode', 'random', '--probability', '0.5', '-j', 'DROP'],
    ['tc', 'qdisc', 'replace', 'dev', 'probe0', 'root', 'tbf', 'rate', '1mbit', 'burst', '16kb', 'latency', '400ms'],
  ];
  try {
    for (const words of needed) await run(inside[0] as string, [...inside.slice(1), ...words]);
    return null;
  } catch (error) {
    return `the kernel or a package (iptables, iproute2) lacks what a rack needs: ${(error as Error).message}`;
  } finally {
    await run('ip', ['netns', 'delete', namespace]);
  }
}

/** Runs the program again within a network namespace of its own, which is gone afterwards. Answers its exit code. */
export async function runInOwnNetwork(prefix: string, words: readonly string[], mark: string): Promise<number> {
  const namespace = `${prefix}-switch`;
  await run('ip', ['netns', 'add', namespace]);
  try {
    const env = { ...process.env, [mark]: prefix };
    const child = spawn('nsenter', [`--net=${namespaceFile(namespace)}`, process.execPath, ...words], {
      stdio: 'inherit',
      env,
    });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill(signal));
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    });
  } finally {
    await run('ip', ['netns', 'delete', namespace]);
  }
}
