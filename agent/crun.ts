import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { toShoalError } from '../protocol/errors.js';
import { Cgroup } from './cgroup.js';
import type { Paths } from './paths.js';
import { runTool } from './run-tool.js';

const DELETE_MS_MAX = 10_000;

/** Ends whatever is left of an instance whose shim is dead: processes, crun's state, cgroup. */
export async function reapInstance(paths: Paths, crun: string, id: string): Promise<string | null> {
  await new Cgroup(paths.cgroup(id)).remove();
  let complaint: string | null = null;
  try {
    const words = ['--root', paths.crunRoot, '--cgroup-manager=disabled', 'delete', '--force', id];
    await runTool(crun, words, DELETE_MS_MAX, 'SHOAL_E_START');
  } catch (error) {
    // It may never have got as far as a container; then what crun says is of interest only to a log.
    complaint = toShoalError(error).message;
  }
  await rm(join(paths.crunRoot, id), { recursive: true, force: true });
  return complaint;
}
