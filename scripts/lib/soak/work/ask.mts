import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from 'shoal/sdk';

/** Asks `many` all the time, each question with a number of its own, and says in its log what became of them. */
const app = await connect();
const EVERY_MS = 100;
const UNDER_WAY_MAX = 50;
/** Of this process: one that takes its place counts from the begin. */
const self = randomUUID();
let [asked, answered, failed, underWay] = [0, 0, 0, 0];

async function ask(question: string): Promise<void> {
  underWay += 1;
  try {
    const answer = await app.call('many', 'answer', question);
    if (answer === question) answered += 1;
    else console.log(`wrong ${question} ${JSON.stringify(answer)}`);
  } catch {
    failed += 1;
  }
  underWay -= 1;
}

await app.ready();
for (;;) {
  await pause(EVERY_MS);
  if (underWay >= UNDER_WAY_MAX) continue;
  asked += 1;
  void ask(`${self}:${asked}`);
  if (asked % 10 === 0) console.log(`asked ${asked} answered ${answered} failed ${failed}`);
}
