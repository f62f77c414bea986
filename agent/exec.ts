import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { NativeHost } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import type { TerminalSize } from '../protocol/exec.js';
import { Cgroup } from './cgroup.js';
import {
  makeCommandFolder,
  PROCESS_WORDS,
  readConfig,
  removeCommandFolder,
  removeCommandFolders,
} from './command-folder.js';
import type { Paths } from './paths.js';
import { Terminal } from './terminal.js';

export interface Ended {
  /** Null: it was ended when its time was over. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A command that runs in an instance. What it says waits to be read, also when it has ended. */
export interface InsideProcess {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Where it has a terminal: tells it its size. */
  resize?(size: TerminalSize): void;
  /** Resolves when it has ended and all that it said was taken. */
  ended: Promise<{ code: number | null; signal: string | null }>;
  /** Ends it and all that it has started, and waits until nothing of it is left. Safe to call again. */
  end(): Promise<void>;
}

/** Begins the names of cgroups of commands. */
const CGROUP_PREFIX = 'exec-';
const OUTPUT_BYTES_MAX = 1024 * 1024;
/** Into the cgroup first, so that the instance's limits hold for crun's part too. */
const ENTER = 'echo 0 > "$1" && shift && exec "$@"';

export interface ExecTools {
  paths: Paths;
  crun: string;
}

/**
 * Starts a command in a running instance: in its namespaces, with its user, seccomp filter and limits. It gets a cgroup of its
 * own below the instance's, so that it can be ended with all that it has started. Throws SHOAL_E_HOST.
 */
export async function startInside(
  { paths, crun }: ExecTools,
  body: string,
  command: readonly string[],
): Promise<InsideProcess> {
  const folder = await makeCommandFolder(paths, body, await readConfig(paths, body), { args: command });
  const cgroup = await cgroupOf(paths, body).catch(async (error: unknown) => {
    await removeCommandFolder(folder);
    throw error;
  });
  const child = spawn('sh', [...entering(cgroup), ...crunWords({ paths, crun }), ...PROCESS_WORDS, body], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // It may end without having read all of its input.
  child.stdin.on('error', () => undefined);
  try {
    await spawned(child);
  } catch (error) {
    await Promise.all([cgroup.remove(), removeCommandFolder(folder)]);
    throw new ShoalError('SHOAL_E_HOST', `cannot run ${command[0]} in ${body}: ${(error as Error).message}`);
  }
  return {
    ...pipesOf(child, child),
    async end() {
      // The shell may not have entered the cgroup yet.
      child.kill('SIGKILL');
      await cgroup.remove();
      await removeCommandFolder(folder);
    },
  };
}

/** The same with a terminal of that size, which is standard input, output and error of the command. */
export async function startInTerminal(
  tools: ExecTools & { native: NativeHost },
  body: string,
  command: readonly string[],
  size: TerminalSize,
): Promise<InsideProcess> {
  const terminal = await Terminal.make(tools, body, command, size);
  const cgroup = await cgroupOf(tools.paths, body).catch(async (error: unknown) => {
    await terminal.close();
    throw error;
  });
  const child = spawn('sh', [...entering(cgroup), ...crunWords(tools), ...terminal.words, body], {
    cwd: terminal.folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child.once('close', () => terminal.ended());
  try {
    await spawned(child);
  } catch (error) {
    await Promise.all([cgroup.remove(), terminal.close()]);
    throw new ShoalError('SHOAL_E_HOST', `cannot run ${command[0]} in ${body}: ${(error as Error).message}`);
  }
  return {
    ...pipesOf(child, { stdin: terminal.stdin, stdout: terminal.stdout, stderr: child.stderr }),
    resize: (to) => terminal.resize(to),
    async end() {
      child.kill('SIGKILL');
      await cgroup.remove();
      await terminal.close();
    },
  };
}

async function cgroupOf(paths: Paths, body: string): Promise<Cgroup> {
  const cgroup = new Cgroup(join(paths.cgroup(body), `${CGROUP_PREFIX}${randomUUID()}`));
  await cgroup.create();
  return cgroup;
}

function entering(cgroup: Cgroup): string[] {
  return ['-c', ENTER, 'sh', join(cgroup.path, 'cgroup.procs')];
}

function crunWords({ paths, crun }: ExecTools): string[] {
  return [crun, '--root', paths.crunRoot, '--cgroup-manager=disabled', 'exec'];
}

/** Ends what commands of an earlier agent have left running in an instance, and removes what they have left. */
export async function endCommandsIn(paths: Paths, body: string): Promise<void> {
  const cgroup = new Cgroup(paths.cgroup(body));
  for (const name of await cgroup.children()) {
    if (name.startsWith(CGROUP_PREFIX)) await new Cgroup(join(cgroup.path, name)).remove();
  }
  await removeCommandFolders(paths, body);
}

/**
 * Runs a command in a running instance and answers what it said. Output beyond 1 MiB ends it. Throws SHOAL_E_HOST when it
 * cannot be run at all, or said too much.
 */
export async function execInside(
  tools: ExecTools,
  body: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<Ended> {
  const inside = await startInside(tools, body, command);
  inside.stdin.end();
  const output = { stdout: '', stderr: '' };
  let excess = false;
  let late = false;
  for (const name of ['stdout', 'stderr'] as const) {
    inside[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      if (output[name].length <= OUTPUT_BYTES_MAX) return;
      excess = true;
      output[name] = output[name].slice(0, OUTPUT_BYTES_MAX);
      void inside.end();
    });
  }
  const timer = setTimeout(() => {
    late = true;
    void inside.end();
  }, timeoutMs);
  const { code } = await inside.ended;
  clearTimeout(timer);
  await inside.end();
  if (excess) throw new ShoalError('SHOAL_E_HOST', `${command[0]} in ${body} said more than ${OUTPUT_BYTES_MAX} bytes`);
  if (late) return { code: null, ...output };
  if (code === null) throw new ShoalError('SHOAL_E_HOST', `${command[0]} in ${body} was killed`);
  return { code, ...output };
}

function spawned(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      assert(child.pid !== undefined);
      child.off('error', reject);
      child.on('error', () => undefined);
      resolve();
    });
  });
}

/** Node.js throws away what nobody has begun to read when a process ends: here it is read from the first. */
export function pipesOf(
  child: ChildProcess,
  from: Pick<InsideProcess, 'stdin' | 'stdout' | 'stderr'>,
): Pick<InsideProcess, 'stdin' | 'stdout' | 'stderr' | 'ended'> {
  const [stdout, stderr] = [from.stdout.pipe(new PassThrough()), from.stderr.pipe(new PassThrough())];
  const closed = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  const read = [stdout, stderr].map((stream) => new Promise<void>((resolve) => stream.once('end', resolve)));
  return { stdin: from.stdin, stdout, stderr, ended: Promise.all([closed, ...read]).then(([how]) => how) };
}
