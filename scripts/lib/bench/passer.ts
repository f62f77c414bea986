/**
 * The other processes of scripts/lib/bench/passed-on.ts. `passer.js PATH` sends what comes back; `passer.js PATH LISTEN` passes
 * on to who dials LISTEN, and says when the answer to that has come, in ms of the monotonic clock.
 */
import { createConnection, createServer } from 'node:net';

const [path = '', listen] = process.argv.slice(2);
const before = createConnection({ path }).on('close', () => process.exit(0));

if (listen === undefined) {
  before.on('data', (chunk) => before.write(chunk));
} else {
  const server = createServer((after) => {
    server.close();
    before.on('data', (chunk) => after.write(chunk));
    after.on('data', () => before.write(`${Number(process.hrtime.bigint()) / 1e6}`));
    before.write('both are there');
  });
  server.listen(listen);
}
