import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { type DemoRequest, DemoRequests } from './requests.js';

/** A process that puts the demo's front on this host under load, and says once a second how it goes: a line of JSON, DemoCounts. */
const EVERY_MS = 200;
const SAY_EVERY_MS = 1_000;
const ANSWER_MS_MAX = 10_000;
const UNDER_WAY_MAX = 25;

const port = Number(process.argv[2]);
const requests = new DemoRequests(randomUUID().slice(0, 8), Math.random);
let underWay = 0;

/** Each request has a connection of its own and is sent once: what is done twice was not sent twice. */
function ask({ method, path, body }: DemoRequest): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const options = { port, path, method, agent: false, signal: AbortSignal.timeout(ANSWER_MS_MAX) };
    const asked = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

setInterval(() => {
  if (underWay >= UNDER_WAY_MAX) return;
  underWay += 1;
  const { request: next, end } = requests.next();
  void ask(next)
    .catch(() => null)
    .then((answer) => {
      underWay -= 1;
      end(answer);
    });
}, EVERY_MS);
setInterval(() => process.stdout.write(`${JSON.stringify(requests.counts)}\n`), SAY_EVERY_MS);
