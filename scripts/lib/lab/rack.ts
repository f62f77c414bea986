import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, type Result, type RunOptions } from './command.js';
import { makeInitramfs } from './initramfs.js';
import { findKernel } from './kernel.js';
import { Machine } from './machine.js';
import { type Boot, findAcceleration } from './qemu.js';
import { quote } from './shell.js';
import { Switch } from './switch.js';

/** The checkout that this code is part of: from dist/scripts/lib/lab. */
export const CHECKOUT = resolve(fileURLToPath(import.meta.url), '../../../../..');
const GUEST = join(CHECKOUT, 'scripts/lib/lab/guest');
export const HOSTS_MAX = 4;
const BOOT_MS_MAX = 180_000;
/** Of the time to boot, what a machine may take before it is booted anew. */
const FIRST_SHARE = 0.5;
/** Exit code when a command could not be run at all. */
export const LAB_FAILED = 125;

export interface RackOptions {
  /** How many machines, named h1, h2, …; 1 to 4, 1 unless said. */
  hosts?: number;
  /** Of each machine; 2 unless said. */
  cpus?: number;
  /** Of each machine; 1024 unless said. Holds what is written to its file systems too. */
  memoryMib?: number;
  /** Of each machine: what it writes is on a disk of that size then, and is there after a reboot. In memory unless said. */
  diskMib?: number;
  /** systemd as the first program instead of a small script. */
  systemd?: boolean;
  /** A folder for output, consoles and core dumps; one under /tmp unless said, which stop() removes. */
  folder?: string;
  /** Within which all machines are up; one that is not in half of it is booted once more. 180,000 unless said. */
  bootMs?: number;
  /** Ends the machines. */
  signal?: AbortSignal;
}

/** Boots the machines; resolves when all take commands, rejects with a LabError when one does not. */
export async function bootRack(options: RackOptions = {}): Promise<Rack> {
  const { hosts = 1, bootMs = BOOT_MS_MAX } = options;
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > HOSTS_MAX) throw new RangeError(`hosts: 1 to ${HOSTS_MAX}`);
  const kernel = await findKernel();
  const initramfs = await makeInitramfs(kernel, join(GUEST, 'init.sh'));
  const boot: Boot = { kernel, initramfs, acceleration: await findAcceleration(kernel, initramfs) };
  const work = await mkdtemp(join(tmpdir(), 'shoal-lab-'));
  const rack = new Rack(boot, work, options);
  const timer = setTimeout(() => void rack.halt(), bootMs);
  options.signal?.addEventListener('abort', () => void rack.halt());
  try {
    await rack.boot(bootMs * FIRST_SHARE);
    return rack;
  } catch (error) {
    await rack.stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Machines that run. */
export class Rack {
  readonly hosts: readonly string[];
  /** What the machines see as /run/lab: for each command HOST/NUMBER/ with stdout, stderr and code; HOST/console; cores/. */
  readonly folder: string;
  readonly #machines = new Map<string, Machine>();
  readonly #switch = new Switch();
  #commands = 0;

  /** Use bootRack(). */
  constructor(
    private readonly bootOf: Boot,
    private readonly work: string,
    private readonly options: RackOptions,
  ) {
    this.folder = options.folder ?? work;
    this.hosts = Array.from({ length: options.hosts ?? 1 }, (_, index) => `h${index + 1}`);
    for (const [index, name] of this.hosts.entries()) {
      const machine = new Machine({
        ...{ name, number: index + 1, boot: bootOf, share: this.folder },
        ...{ network: join(work, `${name}.network`), line: join(work, `${name}.line`) },
        ...{ cpus: options.cpus ?? 2, memoryMib: options.memoryMib ?? 1024 },
        disk: options.diskMib === undefined ? null : { path: join(work, `${name}.disk`), mebibytes: options.diskMib },
      });
      machine.on('line', ([what, request = '']) => what === 'ask' && void this.#answer(machine, request));
      this.#machines.set(name, machine);
    }
  }

  /** A machine that does not come up within so many milliseconds is booted anew, once. */
  async boot(firstMs: number): Promise<void> {
    await this.#fillShare();
    for (const { options } of this.#machines.values()) await this.#switch.open(options.number, options.network);
    await Promise.all([...this.#machines.values()].map((machine) => machine.boot(firstMs)));
  }

  /** Starts a command and does not wait for it. */
  start(host: string, argv: readonly string[], options: RunOptions = {}): Command {
    const machine = this.#machine(host);
    if (argv.length === 0) throw new RangeError('no command');
    this.#commands += 1;
    const id = String(this.#commands);
    return new Command({ machine, id, folder: join(this.folder, host, id) }, argv, { cwd: CHECKOUT, ...options });
  }

  /** Runs a command to its end, whatever its exit code. */
  run(host: string, argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.start(host, argv, options).result;
  }

  /** Has systemd reboot a machine, which keeps what is on its disk; resolves when it takes commands again. */
  reboot(host: string): Promise<void> {
    return this.#machine(host).reboot();
  }

  /** Paths of core dumps, HOST-PROGRAM-PID each. */
  async cores(): Promise<string[]> {
    const folder = join(this.folder, 'cores');
    return (await readdir(folder)).map((name) => join(folder, name));
  }

  /** Ends all machines at once; their folder stays. */
  async halt(): Promise<void> {
    await Promise.all([...this.#machines.values()].map((machine) => machine.stop()));
    this.#switch.close();
  }

  /** Ends all machines at once, and removes the folder unless it was given. */
  async stop(): Promise<void> {
    await this.halt();
    await rm(this.work, { recursive: true, force: true });
  }

  #machine(host: string): Machine {
    const machine = this.#machines.get(host);
    if (machine === undefined) throw new RangeError(`no machine ${host}: there are ${this.hosts.join(', ')}`);
    return machine;
  }

  async #fillShare(): Promise<void> {
    for (const each of ['asks', 'cores', ...this.hosts]) await mkdir(join(this.folder, each), { recursive: true });
    await cp(GUEST, join(this.folder, 'guest'), { recursive: true });
    const { root, version } = this.bootOf.kernel;
    const env = { LAB_MODULES: join(root, 'lib/modules', version), LAB_SYSTEMD: this.options.systemd ? '1' : '0' };
    const lines = Object.entries(env).map(([name, value]) => `${name}=${quote(value)}\n`);
    await writeFile(join(this.folder, 'rack.env'), lines.join(''));
    const names = this.hosts.map((name, index) => `10.0.0.${index + 1} ${name}\n`);
    await writeFile(join(this.folder, 'hosts'), `127.0.0.1 localhost\n::1 localhost\n${names.join('')}`);
  }

  /** `on HOST COMMAND…` in a machine: its words are in a file, output goes to files, the exit code ends the waiting. */
  async #answer(asker: Machine, request: string): Promise<void> {
    const file = join(this.folder, 'asks', request);
    const [host = '', ...argv] = (await readFile(file, 'utf8')).split('\0').slice(0, -1);
    const failed = (error: Error) => ({ code: LAB_FAILED, stdout: '', stderr: `on: ${error.message}\n` });
    const asked = async () => this.run(host, argv);
    const { code, stdout, stderr } = await asked().catch(failed);
    await writeFile(`${file}.stdout`, stdout);
    await writeFile(`${file}.stderr`, stderr);
    asker.say('answer', request, String(code));
  }
}
