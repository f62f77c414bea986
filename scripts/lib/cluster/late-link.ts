import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { within } from '../until.js';

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL('../../../../scripts/lib/cluster/late-link.c', import.meta.url));
const COMPILE_MS_MAX = 60_000;
const READY_MS_MAX = 20_000;

export interface Lateness {
  /** Each frame is late by a chance in this range, so that frames overtake one another; ms. */
  fromMs: number;
  toMs: number;
  /** So many of a thousand come twice. */
  twicePermille: number;
  seed: number;
}

/** The program of late-link.c, compiled, and the cables that it makes late. To be used in the switch's namespace. */
export class LateLinks {
  readonly #running = new Map<string, ChildProcess>();

  private constructor(private readonly folder: string) {}

  static async make(): Promise<LateLinks> {
    const links = new LateLinks(await mkdtemp(join(tmpdir(), 'shoal-late-')));
    await run('cc', ['-O2', '-Wall', '-Werror', '-o', links.#program, SOURCE], { timeout: COMPILE_MS_MAX });
    return links;
  }

  get #program(): string {
    return join(this.folder, 'late-link');
  }

  /** Puts the program between the switch and the device of that name, which is a port of it. */
  async begin(device: string, { fromMs, toMs, twicePermille, seed }: Lateness): Promise<void> {
    await this.end(device);
    const [near, far] = ends(device);
    await run('ip', ['link', 'add', near, 'type', 'veth', 'peer', 'name', far]);
    // Neither end of the program is this machine's own: it must answer for no address there.
    await run('ip', ['link', 'set', far, 'arp', 'off', 'up']);
    await run('ip', ['link', 'set', device, 'nomaster', 'arp', 'off']);
    await run('ip', ['link', 'set', near, 'master', 'switch', 'up']);
    const numbers = [fromMs * 1_000, toMs * 1_000, twicePermille, seed].map((each) => String(Math.round(each)));
    const words = ['--pdeathsig', 'KILL', this.#program, device, far, ...numbers];
    const child = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#running.set(device, child);
    await within(`the late link of ${device}`, READY_MS_MAX, once(child.stdout, 'data'));
  }

  /** The device is a port of the switch again; nothing where it was not late. */
  async end(device: string): Promise<void> {
    const child = this.#running.get(device);
    if (child === undefined) return;
    this.#running.delete(device);
    await ended(child);
    await run('ip', ['link', 'set', device, 'master', 'switch']);
    await run('ip', ['link', 'delete', ends(device)[0]]);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values()].map(ended));
    this.#running.clear();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Of the cable from the switch to the program. */
function ends(device: string): [near: string, far: string] {
  return [`${device}-near`, `${device}-far`];
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
