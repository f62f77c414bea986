import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { within } from '../../../scripts/lib/until.js';
import type { Played } from './seeds-worker.js';

/** SHOAL_SEEDS=FROM-TO plays others, such as one that has failed. */
const [from = 1, to = from] = (process.env.SHOAL_SEEDS ?? '1-10000').split('-').map(Number);
const THREADS = Math.min(4, availableParallelism());
const WAIT_MS_MAX = 550_000;

async function play(first: number): Promise<Played> {
  const workerData = { from: first, to, step: THREADS };
  const worker = new Worker(new URL('./seeds-worker.js', import.meta.url), { workerData });
  try {
    const [played] = await within('seeds to be played', WAIT_MS_MAX, once(worker, 'message'));
    return played as Played;
  } finally {
    await worker.terminate();
  }
}

t.test(`seeds ${from} to ${to}`, { timeout: WAIT_MS_MAX + 30_000 }, async (t) => {
  const played = await Promise.all(Array.from({ length: THREADS }, (_, i) => play(from + i)));
  t.same(
    played.flatMap(({ broken }) => broken),
    [],
  );
  const sum = (key: 'terms' | 'refusedTerms') => played.reduce((all, each) => all + each[key], 0);
  t.comment(`${sum('terms')} terms; ${sum('refusedTerms')} messages of deposed leaders were refused by agents`);
});
