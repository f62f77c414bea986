import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/** Counts who comes, and answers the count. */
const app = await connect();
const counts = app.state<number>('counts');
await app.listen(
  'http',
  createServer((_request, response) => {
    counts
      .update('visits', (count = 0) => count + 1)
      .then((count) => response.end(String(count)))
      .catch((error: Error) => response.writeHead(503).end(error.message));
  }),
);
await app.ready();
