/**
 * One host's agent as far as the relay goes, with an instance that sends numbered records to the other host's and checks
 * what comes: relay-peer HOST ADDRESS
 * RDMA-ADDRESS PEER PEER-ADDRESS LOG. The one with the smaller name dials. LOG gets a line of JSON
 * whenever the carrier changes. SIGUSR1 breaks its queues; after SIGUSR2 at both it ends when all has come.
 */
import { appendFileSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { Relay } from '../../agent/relay.js';
import { native } from '../../native/index.js';
import { toShoalError } from '../../protocol/errors.js';
import { NumberedEnd } from '../agent/numbered-end.js';

const PORT = 9_000;
const CHANNEL = 1;
const RING_BYTES = 64 * 1024;
/** Sent in each turn, so that the wire is never idle and never all there is. */
const RECORDS_PER_TURN = 20;
const TURN_MS = 20;
const TURNS_PER_LINE = 10;
const REDIAL_MS = 200;
const LINGER_MS = 2_000;

const [host = '', address = '', rdmaAddress = '', peer = '', peerAddress = '', log = ''] = process.argv.slice(2);

let link: Socket | undefined;
let last = '';
let ending = false;
/** What the peer has sent in all, when it has ended. */
let expected: number | undefined;

function say(fields: Record<string, unknown>): void {
  appendFileSync(log, `${JSON.stringify(fields)}\n`);
}

/** Tells what the relay's thread says, before the agent's side of it hears. */
const told: typeof native = {
  ...native,
  startRelay: (options, onEvents) =>
    native.startRelay(options, (events) => {
      for (const event of events) say({ event });
      onEvents(events);
    }),
};

const relay = new Relay(
  told,
  {
    host,
    address,
    rdmaAddress,
    plain: true,
    spinUs: 0,
    resumeMs: 120_000,
    refreshMs: 1_000,
    retryMs: { tcp: [100, 500], verbs: [500, 2_000] },
  },
  {
    send: (_, message) => void link?.write(`${JSON.stringify({ message })}\n`),
    forged: (_, detail) => say({ forged: detail }),
    channelEnded: (_, channel, reason) => say({ channel, ended: reason }),
    changed: () => {
      const state = relay.state(peer);
      const text = JSON.stringify([state?.carrier, state?.reason]);
      if (text === last) return;
      last = text;
      say({ carrier: state?.carrier, reason: state?.reason, received: end?.received ?? 0 });
    },
  },
);

function onLink(socket: Socket): void {
  link = socket;
  socket.setNoDelay(true);
  let rest = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = `${rest}${text}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  socket.on('error', (error) => say({ link: toShoalError(error).message }));
  socket.on('close', () => {
    if (link === socket) link = undefined;
    if (host < peer) setTimeout(keepLink, REDIAL_MS);
  });
  socket.on('connect', () => relay.connect(peer));
}

function onLine(line: string): void {
  const { message, sent } = JSON.parse(line) as { message?: unknown; sent?: number };
  if (sent !== undefined) expected = sent;
  if (message !== undefined) relay.receive(peer, message);
}

function keepLink(): void {
  onLink(dial(PORT, peerAddress));
}

if (host < peer) keepLink();
else createServer(onLink).listen(PORT, address);

let end: NumberedEnd | undefined;
process.on('SIGUSR1', () => relay.breakQueues(peer));
process.on('SIGUSR2', () => {
  ending = true;
});

function turn(): void {
  if (end === undefined) {
    if ((relay.state(peer)?.carrier ?? 'none') === 'none') return;
    const [instance, side] = native.createChannel(RING_BYTES);
    relay.attach(peer, CHANNEL, side, 1);
    end = new NumberedEnd(instance, 0);
  }
  const { sent, received, wrong } = end;
  if (!ending && sent % RECORDS_PER_TURN === 0) end.send(RECORDS_PER_TURN);
  if (ending) link?.write(`${JSON.stringify({ sent })}\n`);
  turns += 1;
  if (turns % TURNS_PER_LINE === 0) say({ received, wrong });
  if (!ending || received !== expected) return;
  say({ done: true, sent, received, wrong });
  clearInterval(timer);
  // The other one may not have been told yet what was sent here.
  setTimeout(() => process.exit(0), LINGER_MS);
}

let turns = 0;
const timer = setInterval(turn, TURN_MS);
say({ pid: process.pid });
