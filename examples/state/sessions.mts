import { connect } from 'shoal/sdk';

interface Session {
  user: string;
  seen: number;
}

/** Keeps who is logged in, until nothing was heard of them for half an hour. Runs as well with `state: cache`. */
const IDLE_MS = 30 * 60_000;
const app = await connect();
const sessions = app.state<Session>('sessions');

app.handle('begin', (user, { key = '' }) => sessions.set(key, { user: String(user), seen: 0 }, { ttlMs: IDLE_MS }));
/** Who it is, or null; a session that is used lasts longer. */
app.handle('touch', async (_body, { key = '' }) => {
  const touched = (session?: Session) => session && { ...session, seen: session.seen + 1 };
  return (await sessions.update(key, touched, { ttlMs: IDLE_MS })) ?? null;
});
app.handle('end', (_body, { key = '' }) => sessions.delete(key));
await app.ready();
