/**
 * One host's agent as far as the relay goes, with a copy of a state shard and, once both hosts have that, an instance that
 * sends numbered records to the other host's and checks what comes: relay-peer HOST ADDRESS RDMA-ADDRESS PEER PEER-ADDRESS LOG.
 * The one with the smaller name dials and owns the shard. LOG gets a line of JSON whenever the carrier changes, and now and
 * then. SIGUSR1 breaks its queues; after SIGUSR2 at both it ends when all has come.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import pino from 'pino';
import { type HostMessage, parseHostMessage } from '../../agent/host-messages.js';
import { Relay } from '../../agent/relay.js';
import { CopyChannels } from '../../agent/state/copy-channels.js';
import { native } from '../../native/index.js';
import { toShoalError } from '../../protocol/errors.js';
import { decodeBody, encodeBody } from '../../protocol/frame.js';
import type { CopyRecord } from '../../protocol/state-copies.js';
import { NumberedEnd } from '../agent/numbered-end.js';
import { ShardPeer } from './shard-peer.js';

const PORT = 9_000;
const CHANNEL = 1;
/** Of the card; the machines have one each, of that name. */
const SENT_PACKETS = '/sys/class/infiniband/rxe1/ports/1/hw_counters/sent_pkts';
const RING_BYTES = 64 * 1024;
/** Sent in each turn, so that the wire is never idle and never all there is. */
const RECORDS_PER_TURN = 20;
const TURN_MS = 20;
const TURNS_PER_LINE = 10;
const REDIAL_MS = 200;
const LINGER_MS = 2_000;

const [host = '', address = '', rdmaAddress = '', peer = '', peerAddress = '', log = ''] = process.argv.slice(2);
const leads = host < peer;

/** What goes over the link between the two agents, in lines of JSON. */
interface Said {
  /** Of the relay. */
  message?: unknown;
  /** What each agent says to the other besides, as bytes in base64. */
  agents?: string;
  record?: CopyRecord;
  /** By one that has ended: what it has sent and written in all. */
  ended?: { sent: number; written: number };
}

let link: Socket | undefined;
let last = '';
let ending = false;
let expected: Said['ended'];
let nextChannel = CHANNEL;
/** Messages about copies that went by the link. */
let byLink = 0;

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
    send: (_, message) => tell({ message }),
    forged: (_, detail) => say({ forged: detail }),
    channelEnded: (_, channel, reason) => {
      say({ channel, ended: reason });
      channels.channelEnded(peer, channel);
    },
    changed: () => {
      channels.changed(peer);
      const state = relay.state(peer);
      const text = JSON.stringify([state?.carrier, state?.reason]);
      if (text === last) return;
      last = text;
      say({ carrier: state?.carrier, reason: state?.reason, received: end?.received ?? 0 });
    },
  },
);

const channels = new CopyChannels({
  native,
  log: pino({ level: 'silent' }),
  leads: () => leads,
  carried: () => relay.carried(peer),
  nextChannel: () => {
    nextChannel += 1;
    return nextChannel;
  },
  attach: (_, channel, fds, side) => relay.attach(peer, channel, fds, side),
  detach: (_, channel) => relay.detach(peer, channel),
  offer: (_, channel) => tellAgent({ type: 'copies-channel', channel }),
  message: (_, message) => onAgents(parseHostMessage(message)),
});

const shard = new ShardPeer(
  leads ? { owner: host, replica: peer, own: host } : { owner: peer, replica: host, own: host },
  (messages) => {
    const message = { type: 'copies' as const, messages };
    if (channels.send(peer, message)) return true;
    byLink += 1;
    tellAgent(message);
    return link !== undefined;
  },
  (record) => tell({ record }),
);

function tell(said: Said): void {
  link?.write(`${JSON.stringify(said)}\n`);
}

function tellAgent(message: HostMessage): void {
  tell({ agents: encodeBody(message).toString('base64') });
}

function onAgents(message: HostMessage): void {
  if (message.type === 'copies-channel') channels.offered(peer, message.channel);
  else if (message.type === 'copies') shard.receive(peer, message.messages);
}

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
    if (leads) setTimeout(keepLink, REDIAL_MS);
  });
  socket.on('connect', () => {
    relay.connect(peer);
    channels.changed(peer);
  });
}

function onLine(line: string): void {
  const { message, agents, record, ended } = JSON.parse(line) as Said;
  if (ended !== undefined) expected = ended;
  if (message !== undefined) relay.receive(peer, message);
  if (agents !== undefined) onAgents(parseHostMessage(decodeBody(Buffer.from(agents, 'base64'))));
  if (record !== undefined) shard.configure(record);
}

function keepLink(): void {
  onLink(dial(PORT, peerAddress));
}

if (leads) keepLink();
else createServer(onLink).listen(PORT, address);

let end: NumberedEnd | undefined;
process.on('SIGUSR1', () => relay.breakQueues(peer));
process.on('SIGUSR2', () => {
  ending = true;
});

function turn(): void {
  // Alone on the card at first: what it has sent then is what was said of the copies.
  if (leads && !shard.begun && channels.way(peer).by === 'rdma') shard.begin();
  shard.turn(!ending);
  if (end === undefined && shard.joined) {
    sayHowFar();
    end = startEnd();
  }
  if (end !== undefined && !ending && end.sent % RECORDS_PER_TURN === 0) end.send(RECORDS_PER_TURN);
  if (ending) tell({ ended: { sent: end?.sent ?? 0, written: shard.written } });
  turns += 1;
  if (turns % TURNS_PER_LINE === 0) sayHowFar();
  const isAll =
    end?.received === expected?.sent && (leads ? shard.held === shard.written : shard.held === expected?.written);
  if (!ending || expected === undefined || !isAll) return;
  const copy = shard.check(leads ? shard.written : expected.written);
  say({ done: true, sent: end?.sent, received: end?.received, wrong: end?.wrong ?? copy, written: shard.held });
  clearInterval(timer);
  // The other one may not have been told yet what was sent here.
  setTimeout(() => process.exit(0), LINGER_MS);
}

function startEnd(): NumberedEnd {
  const [instance, side] = native.createChannel(RING_BYTES);
  relay.attach(peer, CHANNEL, side, 1);
  return new NumberedEnd(instance, 0);
}

function sayHowFar(): void {
  const { carrier, bytesOut } = relay.state(peer)?.stats ?? {};
  const packets = carrier === 'verbs' ? Number(readFileSync(SENT_PACKETS, 'utf8')) : undefined;
  const copies = { ...channels.way(peer), byLink, held: shard.held, joined: shard.joined, bytesOut, packets };
  say({ received: end?.received, wrong: end?.wrong ?? shard.problem, copies });
}

let turns = 0;
const timer = setInterval(turn, TURN_MS);
say({ pid: process.pid });
