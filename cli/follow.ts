import { ERRORS, ShoalError } from '../protocol/errors.js';
import type { EventView } from '../protocol/http.js';
import { LIMITS } from '../protocol/limits.js';
import { pause } from '../protocol/pause.js';
import { apiPath, type Client } from './client.js';
import { SseParser } from './sse.js';

export interface FollowOptions {
  signal: AbortSignal;
  /** Id of the last event already seen; 0 for all that the server keeps. */
  after: number;
  /** Told each time the connection was lost; the follower then tries again, without end. */
  onLost?: (error: ShoalError) => void;
}

/**
 * Events as they happen, until `signal`. A lost connection is opened again with the last id seen, so that nothing is
 * shown twice and nothing missed that the server still keeps. The first connection must succeed.
 */
export async function* followEvents(
  client: Client,
  { signal, after, onLost }: FollowOptions,
): AsyncGenerator<EventView> {
  let lastId = after;
  let everConnected = false;
  let waitMs: number = LIMITS.reconnectMsMin;
  while (!signal.aborted) {
    try {
      const headers = { accept: 'text/event-stream', 'last-event-id': String(lastId) };
      const parser = new SseParser();
      for await (const chunk of client.stream(apiPath('events'), { headers, signal })) {
        everConnected = true;
        waitMs = LIMITS.reconnectMsMin;
        for (const { data } of parser.push(chunk)) {
          const event = readEvent(data);
          if (event === null || event.id <= lastId) continue;
          lastId = event.id;
          yield event;
        }
      }
      if (!signal.aborted) onLost?.(new ShoalError('SHOAL_E_UNREACHABLE', 'the server ended the stream of events'));
    } catch (error) {
      // Only a lost connection, or leader, passes by itself; a refusal would be repeated for ever.
      const passes = error instanceof ShoalError && error.exitCode === ERRORS.SHOAL_E_UNREACHABLE.exitCode;
      if (!passes || !everConnected) throw error;
      onLost?.(error);
    }
    await pause(waitMs, signal);
    waitMs = Math.min(waitMs * 2, LIMITS.reconnectMsMax);
  }
}

/** The event in the data, or null when it is something else, such as a heartbeat. */
function readEvent(data: string): EventView | null {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    // Not an event of ours.
    return null;
  }
  return isEvent(value) ? value : null;
}

const EVENT_TEXTS = ['app', 'component', 'instance', 'kind', 'message'] as const;

function isEvent(value: unknown): value is EventView {
  if (typeof value !== 'object' || value === null) return false;
  const record: Partial<Record<string, unknown>> = { ...value };
  const numbers = typeof record.id === 'number' && typeof record.atMs === 'number';
  return numbers && EVENT_TEXTS.every((key) => typeof record[key] === 'string');
}
