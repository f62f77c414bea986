import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ShoalError } from '../protocol/errors.js';

const MARK = 'SHOAL_AGENT_ISOLATED';

/** Whether this process already runs in its own mount namespace. Asked once: its children do not inherit the answer. */
export function isIsolated(): boolean {
  const marked = process.env[MARK] === '1';
  delete process.env[MARK];
  return marked;
}

export const ROOT_MOUNT_REMEDY = 'before the chroot: mount --bind FOLDER FOLDER';

/**
 * Runs this program again in a mount namespace of its own, as the same process from outside: signals are passed on, the
 * exit code comes back, and no mount of the agent is ever seen, or left behind, on the host.
 */
export async function runIsolated(script: string, words: string[]): Promise<number> {
  if (mountedAt('/') === null) {
    const detail = `the root folder of this process is no mount, so that no container can be made: ${ROOT_MOUNT_REMEDY}`;
    throw new ShoalError('SHOAL_E_HOST', detail);
  }
  // Should this process be killed, the agent proper goes too, so that the next one finds its lock free.
  const args = ['--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'slave', process.execPath, script];
  const child = spawn('setpriv', [...args, ...words], { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new ShoalError('SHOAL_E_HOST', `cannot run setpriv (package util-linux): ${error.message}`));
    });
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}

/** The file system type that is mounted at the path, by /proc/self/mountinfo (proc(5)); null when none is. */
export function mountedAt(
  path: string,
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): string | null {
  let found: string | null = null;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    // The last one on the same path covers those before.
    if (left.split(' ')[4] === path) found = right.split(' ')[0] ?? null;
  }
  return found;
}
