import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/**
 * May call the component of `GET /<component>`, and asks it for what only its own instances may: to write an entry of its
 * replicated state, and to be told of all of them. Answers what came of each try.
 */
const app = await connect();
const BODIES: Record<string, unknown> = {
  'shoal:write': { type: 'set', state: 'board', key: 'a', value: Buffer.from([1]) },
  'shoal:follow': { epoch: -1, index: -1 },
};
/** Enough that each instance is asked. */
const TRIES = 8;

async function tryAll(component: string): Promise<string[]> {
  const tries = Object.entries(BODIES).flatMap(([handler, body]) =>
    Array.from({ length: TRIES }, () => [handler, body]),
  );
  return Promise.all(
    tries.map(async ([handler, body]) => {
      try {
        return `${handler} was done: ${JSON.stringify(await app.call(component, handler as string, body))}`;
      } catch (error) {
        return String((error as { code?: string }).code);
      }
    }),
  );
}

const server = createServer((request, response) => {
  void tryAll((request.url ?? '').slice(1)).then((came) => response.end(JSON.stringify(came)));
});
await app.listen('http', server);
await app.ready();
