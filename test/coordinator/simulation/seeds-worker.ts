/** A thread that plays seeds: without tap, whose hooks on every promise take as much time again as the simulation. */
import { parentPort, workerData } from 'node:worker_threads';
import { simulate } from './simulate.js';

/** What seeds have shown together. */
export interface Played {
  broken: string[];
  terms: number;
  refusedTerms: number;
}

// Thousands of errors are part of the play, and nobody reads where they were made.
Error.stackTraceLimit = 0;
const { from, to, step } = workerData as { from: number; to: number; step: number };
const played: Played = { broken: [], terms: 0, refusedTerms: 0 };
for (let seed = from; seed <= to; seed += step) {
  const history = await simulate(seed);
  played.terms += history.terms;
  played.refusedTerms += history.refusedTerms;
  if (history.broken !== null) played.broken.push(`seed ${seed}: ${history.broken}`);
}
parentPort?.postMessage(played);
