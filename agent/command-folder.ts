import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Paths } from './paths.js';

const PREFIX = 'command-';
const PROCESS_FILE = 'process.json';
/** For `crun exec`, which is to run in the folder. */
export const PROCESS_WORDS = ['--process', PROCESS_FILE];

/** The part of a container's config.json that commands go by. */
interface Config {
  process: Record<string, unknown>;
  mounts: { destination: string }[];
}

/** The container's config.json as the agent has written it. */
export async function readConfig(paths: Paths, body: string): Promise<Config> {
  return JSON.parse(await readFile(paths.instance(body).config, 'utf8')) as Config;
}

/**
 * Writes down what a command is to run as, the instance's own process with other fields, in a new folder that only root can
 * enter. Words alone would do for crun too, but then it forgets the process's rlimits and noNewPrivileges.
 */
export async function makeCommandFolder(
  paths: Paths,
  body: string,
  { process }: Config,
  fields: Record<string, unknown>,
): Promise<string> {
  const folder = await mkdtemp(join(paths.instance(body).directory, PREFIX));
  await writeFile(join(folder, PROCESS_FILE), JSON.stringify({ ...process, ...fields }), { mode: 0o600 });
  return folder;
}

export async function removeCommandFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Removes what commands of an earlier agent have left, none of which may run any more. */
export async function removeCommandFolders(paths: Paths, body: string): Promise<void> {
  const { directory } = paths.instance(body);
  const names = (await readdir(directory)).filter((name) => name.startsWith(PREFIX));
  await Promise.all(names.map((name) => removeCommandFolder(join(directory, name))));
}
