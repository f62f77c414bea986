import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

const app = await connect();
const server = createServer((request, response) => {
  app.call('hello', 'greet', { path: request.url }).then(
    (answer) => response.end(`${JSON.stringify(answer)}\n`),
    (error) => response.writeHead(500).end(`${error.message}\n`),
  );
});
await app.listen('http', server);
await app.ready();
