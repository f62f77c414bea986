import { createHash, type Hash } from 'node:crypto';
import { cp, lstat, lutimes, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import type { BuildSource } from '../../protocol/manifest.js';
import { isRemote } from '../../protocol/manifest-build.js';
import { isErrno } from '../cgroup.js';
import { runTool } from '../run-tool.js';

const GIT_MS_MAX = 300_000;
const COMMIT = /^[0-9a-f]{40}([0-9a-f]{24})?$/;
/** Never part of what is built: history, and what the build makes itself. */
const LEFT_OUT = new Set(['.git', 'node_modules']);
/** What asks nobody for a password, and speaks no transport that runs programs of the repository's choice. */
const GIT_ENV = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
  GIT_SSH_COMMAND: 'ssh -oBatchMode=yes',
};

/** The revision that the source stands at now: the commit of its ref, or the digest of the folder's content. */
export async function resolveRevision(source: BuildSource): Promise<string> {
  if (!isRemote(source.build)) return digestOf(await givenFolder(source));
  const { ref = 'HEAD' } = source;
  if (COMMIT.test(ref)) return ref;
  const listed = await git(['ls-remote', '--', source.build, ref, `refs/tags/${ref}^{}`]);
  const found = listed.split('\n').map((line) => line.split('\t'));
  const named = (name: string) => found.find(([, each]) => each === name)?.[0];
  // A tag that is an object of its own names its commit by ^{}.
  const commit = named(`refs/tags/${ref}^{}`) ?? named(`refs/heads/${ref}`) ?? named(`refs/tags/${ref}`) ?? named(ref);
  if (commit !== undefined && COMMIT.test(commit)) return commit;
  throw new ShoalError('SHOAL_E_START', `step fetch: ${source.build} has no branch, tag or commit ${ref}`);
}

/**
 * Brings the source of just this revision into `target`, an empty folder; answers the folder in it that is built. Times of
 * files are the epoch's, so that the same content makes the same image. Rejects with the signal's reason when it aborts.
 */
export async function checkOut(
  source: BuildSource,
  revision: string,
  target: string,
  signal: AbortSignal,
): Promise<string> {
  if (isRemote(source.build)) {
    await git(['init', '--quiet', target]);
    await git(['-C', target, 'fetch', '--quiet', '--depth', '1', '--', source.build, revision], signal);
    await git(['-C', target, '-c', 'advice.detachedHead=false', 'checkout', '--quiet', 'FETCH_HEAD'], signal);
    await rm(join(target, '.git'), { recursive: true });
    const folder = await inside(target, source.path);
    await resetTimes(folder);
    return folder;
  }
  const from = await givenFolder(source);
  await cp(from, target, { recursive: true, verbatimSymlinks: true, filter: (path) => !LEFT_OUT.has(basename(path)) });
  const found = await digestOf(target);
  if (found !== revision) {
    throw new ShoalError('SHOAL_E_START', `step fetch: ${from} has changed since revision ${revision.slice(0, 12)}`);
  }
  await resetTimes(target);
  return target;
}

async function givenFolder({ build, path }: BuildSource): Promise<string> {
  return inside(build, path);
}

/** The folder, which must be one; a path in it leads nowhere else, whatever links the repository has. */
async function inside(folder: string, path: string | undefined): Promise<string> {
  const missing = `there is no folder ${path === undefined ? folder : `${path} in ${folder}`} on this host`;
  let at = folder;
  for (const part of ['.', ...(path ?? '').split('/').filter((each) => each !== '' && each !== '.')]) {
    // The folder itself may be given by a link: with the dot it is what that names.
    at = part === '.' ? `${folder}/.` : join(at, part);
    const info = await lstat(at).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return null;
      throw error;
    });
    if (info?.isDirectory()) continue;
    throw new ShoalError('SHOAL_E_START', `step fetch: ${missing}`);
  }
  return at;
}

/** Over names, kinds, the right to execute, and content. */
async function digestOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  await addFolder(hash, folder, '');
  return hash.digest('hex');
}

async function addFolder(hash: Hash, folder: string, name: string): Promise<void> {
  const names = (await readdir(folder)).filter((each) => !LEFT_OUT.has(each)).sort();
  for (const each of names) {
    const path = join(folder, each);
    const inner = `${name}/${each}`;
    const info = await lstat(path);
    if (info.isDirectory()) {
      hash.update(`folder ${JSON.stringify(inner)}\n`);
      await addFolder(hash, path, inner);
    } else if (info.isSymbolicLink()) {
      hash.update(`link ${JSON.stringify([inner, await readlink(path)])}\n`);
    } else if (info.isFile()) {
      const content = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
      hash.update(`file ${JSON.stringify(inner)} ${(info.mode & 0o111) === 0 ? '-' : 'x'} ${content}\n`);
    }
  }
}

async function resetTimes(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    await lutimes(join(entry.parentPath ?? entry.path, entry.name), 0, 0);
  }
}

async function git(words: string[], signal?: AbortSignal): Promise<string> {
  const killed = signal === undefined ? {} : { signal };
  const options = { dieWithUs: true, label: 'step fetch: git', env: { ...process.env, ...GIT_ENV }, ...killed };
  return runTool('git', words, GIT_MS_MAX, 'SHOAL_E_START', options);
}
