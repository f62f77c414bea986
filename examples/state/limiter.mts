import { connect } from 'shoal/sdk';

/** Tokens that a client has left, and when that was so. */
interface Bucket {
  tokens: number;
  atMs: number;
}

/** Lets each client through so often in a second, and in a burst: a token bucket each. Runs as well with `state: cache`. */
const PER_SECOND = 1;
const BURST = 5;
const FULL_MS = (BURST / PER_SECOND) * 1_000;
const app = await connect();
const buckets = app.state<Bucket>('buckets');

/** Whether the client may go on now. */
app.handle('take', async (_body, { key = '' }) => {
  let taken = false;
  const nowMs = Date.now();
  const take = (before: Bucket = { tokens: BURST, atMs: nowMs }): Bucket => {
    const come = (Math.max(0, nowMs - before.atMs) / 1_000) * PER_SECOND;
    const tokens = Math.min(BURST, before.tokens + come);
    taken = tokens >= 1;
    return { tokens: taken ? tokens - 1 : tokens, atMs: nowMs };
  };
  // One that is full again need not be kept.
  await buckets.update(key, take, { ttlMs: FULL_MS });
  return taken;
});
await app.ready();
