import type { App, Handler } from 'shoal/sdk';

/**
 * What the demo's components get as `shoal/sdk` in a soak: the SDK, which also says in the log which calls are answered, with
 * what was asked and on which state shards. A line is written before the handler starts, so that none is missing.
 */
// By its path: by its name it would be found here again.
const SDK = '/node_modules/shoal/dist/sdk/bundle.js';
const sdk = (await import(SDK)) as typeof import('shoal/sdk');

export async function connect(): Promise<App> {
  const app = await sdk.connect();
  const handle = app.handle.bind(app);
  app.handle = (name: string, handler: Handler) =>
    handle(name, (body, context) => {
      console.log(`answers ${name} ${context.shards.join() || '-'} ${JSON.stringify(body)}`);
      return handler(body, context);
    });
  return app;
}
