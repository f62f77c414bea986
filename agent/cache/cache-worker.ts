import assert from 'node:assert/strict';
import { parentPort } from 'node:worker_threads';
import { toShoalError } from '../../protocol/errors.js';
import type { FromCacheThread } from './cache-thread.js';
import { HostCaches, type WantedCaches } from './host-caches.js';

/** What was done with caches is said so often, when there is something new. */
const FIGURES_MS = 2_000;

assert(parentPort !== null, 'this is the module of a thread');
const port = parentPort;
const say = (message: FromCacheThread) => port.postMessage(message);
const caches = new HostCaches((news) => say({ type: 'news', news }));

let said = '';
setInterval(() => {
  const figures = caches.figures();
  const text = JSON.stringify(figures);
  if (text !== said) say({ type: 'figures', figures });
  said = text;
}, FIGURES_MS).unref();

port.on('message', (wanted: WantedCaches) => {
  caches.sync(wanted).catch((error: unknown) => say({ type: 'failed', why: toShoalError(error).message }));
});
