import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/**
 * Calls `ledger` as long as it is told to, with a number of its own each time, and keeps what became of each call. `/start`,
 * `/stop` (answers when no call is under way) and `/` all answer the outcomes so far; `/streams` what came of two streams.
 */
const WORKERS = 8;
/** Between a call that failed and the next one, so that an agent that is away does not make millions of them. */
const PAUSE_MS = 5;

const app = await connect();
const outcomes = { asked: 0, answered: 0, twice: 0, failed: {} as Record<string, number> };
let calling = false;
let workers: Promise<unknown> = Promise.resolve();

async function work(): Promise<void> {
  while (calling) {
    const number = outcomes.asked;
    outcomes.asked += 1;
    try {
      const times = await app.call('ledger', 'note', number);
      outcomes[times === 1 ? 'answered' : 'twice'] += 1;
    } catch (error) {
      const { code = 'no code' } = error as { code?: string };
      outcomes.failed[code] = (outcomes.failed[code] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** More than some windows. */
const STREAMED = 2_000;

/** One from `ledger`, which goes back to it. */
async function stream(): Promise<{ items: number; inOrder: boolean; sum: unknown }> {
  const items: Buffer[] = [];
  for await (const item of app.stream('ledger', 'numbers', STREAMED)) items.push(item as Buffer);
  const inOrder = items.every((item, i) => item.length === 1_000 && item.every((byte) => byte === i % 251));
  return { items: items.length, inOrder, sum: await app.call('ledger', 'sum', null, { input: items }) };
}

async function act(path: string): Promise<void> {
  if (path === '/start' && !calling) {
    calling = true;
    workers = Promise.all(Array.from({ length: WORKERS }, work));
  } else if (path === '/stop') {
    calling = false;
    await workers;
  }
}

const server = createServer((request, response) => {
  const answer = async () => {
    if (request.url === '/streams') return stream();
    await act(request.url ?? '/');
    return { ...outcomes, peers: app.peers() };
  };
  answer().then(
    (body) => response.end(JSON.stringify(body)),
    (error: unknown) => response.writeHead(500).end(JSON.stringify({ error: String(error) })),
  );
});
await app.listen('http', server);
await app.ready();
