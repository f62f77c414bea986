import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShoalError } from '../../protocol/errors.js';
import { sizeOfFile } from './disk.js';

const LOOKS = 20;

/**
 * Does work that writes into a folder, for as long as it takes. When nothing has changed there for so long, the signal
 * aborts, with SHOAL_E_START as its reason.
 */
export async function whileGrowing<T>(
  folder: string,
  silentMsMax: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const silent = new AbortController();
  let last = '';
  let changedMs = performance.now();
  const look = async () => {
    const now = await contentOf(folder);
    if (now !== last) changedMs = performance.now();
    last = now;
    if (performance.now() - changedMs < silentMsMax) return;
    silent.abort(new ShoalError('SHOAL_E_START', `nothing came for ${silentMsMax / 1000} s`));
  };
  const timer = setInterval(() => void look().catch((error: unknown) => silent.abort(error)), silentMsMax / LOOKS);
  try {
    return await work(silent.signal);
  } finally {
    clearInterval(timer);
  }
}

/** Names and sizes of all that is in it. */
async function contentOf(folder: string): Promise<string> {
  const names = (await readdir(folder, { recursive: true })).sort();
  const sizes = await Promise.all(names.map((name) => sizeOfFile(join(folder, name))));
  return JSON.stringify([names, sizes]);
}
