import assert from 'node:assert/strict';
import { parentPort } from 'node:worker_threads';
import { toShoalError } from '../../protocol/errors.js';
import type { FromCacheThread } from './cache-thread.js';
import { HostCaches, type WantedCaches } from './host-caches.js';

assert(parentPort !== null, 'this is the module of a thread');
const port = parentPort;
const say = (message: FromCacheThread) => port.postMessage(message);
const caches = new HostCaches((news) => say({ type: 'news', news }));

port.on('message', (wanted: WantedCaches) => {
  caches.sync(wanted).catch((error: unknown) => say({ type: 'failed', why: toShoalError(error).message }));
});
