import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply } from 'fastify';
import { type ErrorCode, ShoalError, toShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { LOG_BEGINNING, type LogFrom, type LogPiece, type LogQuestion } from '../../protocol/log.js';
import { readLogPiece } from '../../protocol/log-files.js';
import { pause } from '../../protocol/pause.js';
import type { LogSource } from '../agent-questions.js';
import { numberIn } from './apps.js';

/** A log that is written faster than it is read ends, for who does not follow it, after twice what the longest has. */
const WHOLE_BYTES_MAX = 2 * Math.max(LIMITS.buildLogBytesMax, LIMITS.logFilesMax * LIMITS.logFileBytesMax);
/** These pass: who follows a log waits for the host. */
const PASSING: readonly ErrorCode[] = ['SHOAL_E_UNREACHABLE', 'SHOAL_E_DEADLINE', 'SHOAL_E_OVERLOADED'];
const FOLDERS = { instance: 'instances', build: 'builds' };
const TYPE = 'text/plain; charset=utf-8';

export interface LogAccess {
  source: LogSource;
  /** The state folder of this host's agent, which is read when no agent has an answer. */
  run: string;
  leads: () => boolean;
}

export interface LogRequest extends Omit<LogQuestion, 'from'> {
  /** Those that have it, or had; none: what it was the log of is gone. */
  hosts: () => readonly string[];
  query: { follow?: string; tail?: string };
  reply: FastifyReply;
}

type Place = (from: LogFrom) => Promise<LogPiece>;

/** The log as it is, or followed until the client leaves or what it is the log of is gone. */
export async function sendLog(access: LogAccess, request: LogRequest): Promise<Readable | FastifyReply> {
  const { kind, id, hosts, query, reply } = request;
  const tail = numberIn('tail', query.tail ?? String(LIMITS.logTailLinesMax), 0, LIMITS.logTailLinesMax);
  const places = (): Place[] => [
    ...hosts().map(
      (host): Place =>
        (from) =>
          access.source.readLog(host, { kind, id, from }),
    ),
    (from) => readLogPiece(join(access.run, FOLDERS[kind], id), from),
  ];
  const reading = new Reading(places, { tail });
  if (query.follow === '1') return follow(access, request, reading);
  const first = await reading.next();
  if (first === null) throw new ShoalError('SHOAL_E_NOT_FOUND', `${kind} ${id} has no log yet`);
  reply.type(TYPE);
  return Readable.from(whole(first, reading), { objectMode: false });
}

/** Reads one log on, wherever it is. */
class Reading {
  readonly #places: () => Place[];
  #from: LogFrom;
  /** Where it was found: what another place has is another one, or has other files. */
  #found: Place | null = null;

  constructor(places: () => Place[], from: LogFrom) {
    this.#places = places;
    this.#from = from;
  }

  /** A full piece, or a shorter one at the end; null: there is none. Throws what the first place did that failed. */
  async next(): Promise<Uint8Array | null> {
    let failure: unknown;
    for (const place of this.#found === null ? this.#places() : [this.#found]) {
      try {
        const { bytes, next } = await place(this.#from);
        if (next === null) continue;
        this.#found = place;
        this.#from = next;
        return bytes;
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    // What begins after somebody asked for its last lines is all new.
    this.#from = LOG_BEGINNING;
    return null;
  }

  /** The same, and null while its host cannot be asked. */
  async nextInTime(): Promise<Uint8Array | null> {
    try {
      return await this.next();
    } catch (error) {
      if (PASSING.includes(toShoalError(error).code)) return null;
      throw error;
    }
  }
}

/** Each piece is asked for when the client has taken the one before. */
async function* whole(first: Uint8Array, reading: Reading): AsyncGenerator<Uint8Array> {
  let sent = 0;
  for (let piece: Uint8Array | null = first; piece !== null; piece = await reading.next()) {
    yield piece;
    sent += piece.length;
    if (piece.length < LIMITS.logPieceBytesMax || sent >= WHOLE_BYTES_MAX) return;
  }
}

async function follow(access: LogAccess, { hosts, reply }: LogRequest, reading: Reading): Promise<FastifyReply> {
  const gone = new AbortController();
  // What cannot be had at all is an answer of its own.
  const first = await reading.nextInTime();
  reply.hijack();
  const { raw } = reply;
  raw.once('close', () => gone.abort());
  if (raw.destroyed) gone.abort();
  raw.writeHead(200, { 'content-type': TYPE });
  // It may be silent for long: clients know at once that it is there.
  raw.flushHeaders();
  const pieces = followed(first, reading, () => hosts().length > 0, access.leads, gone.signal);
  // To who has left nothing can be said, and others see that the answer breaks off.
  pipeline(Readable.from(pieces, { objectMode: false }), raw).catch(() => raw.destroy());
  return reply;
}

async function* followed(
  first: Uint8Array | null,
  reading: Reading,
  isThere: () => boolean,
  leads: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const led = leads();
  for (let piece = first; !signal.aborted; piece = await reading.nextInTime()) {
    if (piece !== null && piece.length > 0) {
      yield piece;
      continue;
    }
    if (!isThere()) return;
    // The agents have gone to another one, and do not come back to this answer.
    if (led && !leads()) throw new ShoalError('SHOAL_E_NOT_LEADER', 'this coordinator no longer leads');
    await pause(LIMITS.logLookMs, signal);
  }
}
