import { createServer } from 'node:http';
import { connect } from 'shoal/sdk';

/** `GET /<component>/<handler>?key=…&value=…` makes the call and answers with its result in JSON. */
const app = await connect();
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://inside');
  const [, component = '', handler = ''] = url.pathname.split('/');
  const key = url.searchParams.get('key');
  const options = key === null ? {} : { key };
  app.call(component, handler, url.searchParams.get('value'), options).then(
    (answer) => response.end(JSON.stringify({ answer })),
    (error: { code?: string; message: string }) => {
      response.statusCode = 500;
      response.end(JSON.stringify({ code: error.code, message: error.message }));
    },
  );
});
await app.listen('http', server);
await app.ready();
