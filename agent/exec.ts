import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../protocol/errors.js';
import { isErrno } from './cgroup.js';
import { readPid } from './launch.js';
import type { Paths } from './paths.js';

export interface Ended {
  /** Null: it was ended when its time was over. */
  code: number | null;
  stdout: string;
  stderr: string;
}

const OUTPUT_BYTES_MAX = 1024 * 1024;
/** Into the instance's cgroup first, so that its limits hold and it ends with the instance. */
const ENTER = 'echo 0 > "$1" && shift && exec "$@"';

/**
 * Runs a command in a running instance: in its namespaces, with its user, seccomp filter and limits. Output beyond 1 MiB ends
 * it. Throws SHOAL_E_HOST when it cannot be run at all.
 */
export async function execInside(
  { paths, crun }: { paths: Paths; crun: string },
  body: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<Ended> {
  const pidFile = join(paths.instance(body).directory, `exec-${randomUUID()}.pid`);
  const procs = join(paths.cgroup(body), 'cgroup.procs');
  const run = [crun, '--root', paths.crunRoot, '--cgroup-manager=disabled', 'exec', '--pid-file', pidFile];
  try {
    return await new Promise<Ended>((resolve, reject) => {
      let late = false;
      const options = { maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' } as const;
      const child = execFile(
        'sh',
        ['-c', ENTER, 'sh', procs, ...run, body, ...command],
        options,
        (error, stdout, stderr) => {
          clearTimeout(timer);
          const code = error === null ? 0 : error.code;
          if (late) resolve({ code: null, stdout, stderr });
          else if (typeof code === 'number') resolve({ code, stdout, stderr });
          else reject(new ShoalError('SHOAL_E_HOST', `cannot run ${command[0]} in ${body}: ${String(error?.message)}`));
        },
      );
      const timer = setTimeout(() => {
        late = true;
        void endExec(pidFile).finally(() => child.kill('SIGKILL'));
      }, timeoutMs);
    });
  } finally {
    await rm(pidFile, { force: true });
  }
}

/** What crun has started goes on without crun. */
async function endExec(pidFile: string): Promise<void> {
  const pid = await readPid(pidFile);
  if (pid === undefined) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}
