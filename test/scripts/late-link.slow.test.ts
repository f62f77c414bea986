import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { NetRack, rackProblem, runInOwnNetwork } from '../../scripts/lib/cluster/net-rack.js';
import { until, within } from '../../scripts/lib/until.js';

const IN_NETWORK = 'SHOAL_LATE_NETWORK';
const MS_MAX = 60_000;
const LATE = { fromMs: 20, toMs: 120, twicePermille: 200, seed: 7 };
const QUESTIONS = 60;
const BYTES = 500_000;
const PORT = 4_000;
/** On the machine: answers datagrams, and says how many bytes it was sent by a connection. */
const ECHO = `
const udp = require('node:dgram').createSocket('udp4');
udp.on('message', (message, { port, address }) => udp.send(message, port, address));
udp.bind(${PORT});
require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = require('node:crypto').createHash('sha256');
  socket.on('data', (chunk) => hash.update(chunk)).on('end', () => socket.end(hash.digest('hex')));
}).listen(${PORT}, () => console.log('ready'));
`;

interface Heard {
  order: number[];
  firstMs: number;
}

/** What comes back of numbered datagrams, until as many did as were sent or nothing more comes. */
async function heard(address: string): Promise<Heard> {
  const socket = createSocket('udp4');
  const order: number[] = [];
  const startMs = performance.now();
  let [firstMs, lastMs] = [0, startMs];
  socket.on('message', (message) => {
    lastMs = performance.now();
    if (order.length === 0) firstMs = lastMs - startMs;
    order.push(Number(message.toString()));
  });
  for (let i = 0; i < QUESTIONS; i += 1) socket.send(String(i), PORT, address);
  await until(() => new Set(order).size === QUESTIONS && performance.now() - lastMs > 500, MS_MAX);
  socket.close();
  return { order, firstMs };
}

async function digestThere(address: string): Promise<string> {
  const socket = connect(PORT, address);
  let said = '';
  socket.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  socket.end(Buffer.alloc(BYTES, 'late'));
  await within('an answer to a connection', MS_MAX, once(socket, 'close'));
  return said;
}

async function inNetwork(prefix: string): Promise<void> {
  const rack = await NetRack.make(prefix, ['m0']);
  const [program = '', ...words] = rack.on('m0', process.execPath, '-e', ECHO);
  const echo = execFile(program, words);
  try {
    await within('the machine that answers', MS_MAX, once(echo.stdout as NodeJS.ReadableStream, 'data'));
    const address = rack.addressOf('m0');
    const inOrder = Array.from({ length: QUESTIONS }, (_, i) => i);
    assert.deepEqual((await heard(address)).order, inOrder, 'at first all come once and in order');
    const digest = await digestThere(address);

    await rack.late('m0', LATE);
    const late = await heard(address);
    assert.ok(late.firstMs >= 2 * LATE.fromMs, `late by ${late.firstMs.toFixed(0)} ms there and back`);
    assert.notDeepEqual([...new Set(late.order)], inOrder, 'out of order');
    assert.ok(late.order.length > QUESTIONS, 'some twice');
    assert.equal(await digestThere(address), digest, 'a connection bears it');

    await rack.heal('m0');
    assert.deepEqual((await heard(address)).order, inOrder, 'and it passes');
  } finally {
    echo.kill('SIGKILL');
    await rack.close();
  }
}

const prefix = process.env[IN_NETWORK];
if (prefix !== undefined) {
  await inNetwork(prefix);
} else {
  const skip = (await rackProblem()) ?? false;
  t.test('a machine of the rack that is late', { skip, timeout: 4 * MS_MAX }, async (t) => {
    const code = await runInOwnNetwork(`late${process.pid}`, [fileURLToPath(import.meta.url)], IN_NETWORK);
    t.equal(code, 0, 'what it sends and receives is late, out of order and partly double, until it is mended');
  });
}
