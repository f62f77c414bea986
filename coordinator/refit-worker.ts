import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { type RefitJob, runRefit } from './brain/forecast/index.js';

/** The thread in which refits are worked out, one job at a time; see refit.ts. */
const port = parentPort;
if (port === null) throw new Error('refit-worker.js runs as a worker thread only');
try {
  // On Linux this is of the calling thread alone: the loop goes before it.
  setPriority(10);
} catch (error) {
  // A sandbox may forbid it: then they take turns.
  const { code } = (error as { info?: { code?: string } }).info ?? {};
  if (code !== 'EPERM' && code !== 'EACCES') throw error;
}
port.on('message', (job: RefitJob) => port.postMessage(runRefit(job)));
