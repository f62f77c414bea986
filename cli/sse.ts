/** One event of a text/event-stream (WHATWG HTML, 9.2.6). */
export interface ServerSentEvent {
  id: string;
  type: string;
  data: string;
}

/** Longest event that is kept; a server that never ends its line must not fill our memory. In UTF-16 units. */
const PENDING_MAX = 1024 * 1024;

/** Cuts a text stream into server-sent events. Keeps the last id, to be sent when connecting again. */
export class SseParser {
  #pending = '';
  #data: string[] = [];
  #type = '';
  lastId = '';

  push(chunk: string): ServerSentEvent[] {
    // Event streams may end lines by CR LF, LF or CR; a CR at the end waits for its LF.
    const text = this.#pending + chunk;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#pending = lines.pop() ?? '';
    if (this.#pending.length > PENDING_MAX) throw new RangeError(`event line longer than ${PENDING_MAX}`);
    return lines.map((line) => this.#line(line)).filter((event) => event !== null);
  }

  #line(line: string): ServerSentEvent | null {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    // A colon first makes it a comment: servers send these to keep the connection alive.
    if (colon === 0) return null;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.lastId = value;
    return null;
  }

  #dispatch(): ServerSentEvent | null {
    const event = { id: this.lastId, type: this.#type || 'message', data: this.#data.join('\n') };
    const empty = this.#data.length === 0;
    this.#data = [];
    this.#type = '';
    return empty ? null : event;
  }
}
