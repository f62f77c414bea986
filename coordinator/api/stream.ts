import type { FastifyReply, FastifyRequest } from 'fastify';

const HEARTBEAT_MS = 15_000;
/** A client that lets so much wait is cut off; it comes back with its last id and misses nothing. */
const WAITING_BYTES_MAX = 1024 * 1024;

export interface StreamSource {
  /** Sent at once. */
  past: readonly string[];
  /** Sends what comes; returns a function that ends it. */
  subscribe: (send: (text: string) => void) => () => void;
}

/** Answers with server-sent events (WHATWG HTML, section 9.2) until the client goes. */
export function stream(request: FastifyRequest, reply: FastifyReply, { past, subscribe }: StreamSource): void {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'keep-alive' });
  const send = (text: string) => {
    raw.write(text);
    if (raw.writableLength > WAITING_BYTES_MAX) raw.destroy();
  };
  send(': shoal events\n\n');
  for (const text of past) send(text);
  const stop = subscribe(send);
  const heartbeat = setInterval(() => send(': alive\n\n'), HEARTBEAT_MS);
  request.raw.socket.once('close', () => {
    stop();
    clearInterval(heartbeat);
    raw.destroy();
  });
}

export function wantsStream(request: Pick<FastifyRequest, 'headers'>): boolean {
  return (request.headers.accept ?? '').includes('text/event-stream');
}

export function sseEvent(id: number, kind: string, data: object): string {
  return `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
}
