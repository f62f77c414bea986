import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

const NAMES = /(\.md|\.txt)$|^licen[sc]e/i;
const BYTES_MAX = 200 * 1024;
/** Files on one command line of grep. */
const FILES_PER_GREP = 500;

/** All texts below the folder: documents and licences of the packages that every checkout has installed. */
export async function findTexts(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && NAMES.test(entry.name));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
  return paths.filter((_, i) => (sizes[i] ?? 0) > 0 && (sizes[i] ?? 0) <= BYTES_MAX);
}

/** How many of the files hold the word, by grep. */
export async function grepCount(files: readonly string[], word: string): Promise<number> {
  let count = 0;
  for (let i = 0; i < files.length; i += FILES_PER_GREP) {
    const words = ['-l', '-a', '-i', '-w', '-F', '-e', word, '--', ...files.slice(i, i + FILES_PER_GREP)];
    count += (await run('grep', words)).split('\n').filter(Boolean).length;
  }
  return count;
}

function run(tool: string, words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(tool, words, { env: { ...process.env, LC_ALL: 'C' }, maxBuffer: 2 ** 26 }, (error, stdout) => {
      // grep answers 1 when it finds nothing.
      if (error !== null && error.code !== 1) reject(error);
      else resolve(stdout);
    });
  });
}
