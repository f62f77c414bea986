import { type ErrorCode, isErrorCode, ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { isCopyName, parseCopyMessage } from '../protocol/state-copies-parse.js';
import { type BlobWanted, parseBlobWanted } from './image-store/blob-link.js';
import type { CopyEnvelope } from './state/copies.js';

/**
 * What the agents of two hosts tell each other, in frames as in protocol/frame.ts. Instances are named by their ids alone:
 * to which component they belong, and on which host they are, each agent knows from the coordinator.
 */
export const HOST_LINK_VERSION = 3;

/** An instance that can be called, as the agent of its host says. */
export interface Served {
  id: string;
  /** Share of calls that it gets beside one of weight 1. */
  weight: number;
  /** State shards that it holds, and those of them that it no longer serves. */
  shards: number[];
  frozen: number[];
  /** Whether it takes calls that go to no state shard. */
  serving: boolean;
}

export type HostMessage =
  /** First, by both. */
  | { type: 'hello'; version: number; host: string }
  /** Instead, on a connection for a blob alone: image-store/blob-link.ts */
  | BlobWanted
  /** Last, by who will not talk. */
  | { type: 'goodbye'; why: string }
  | { type: 'alive' }
  /** All instances of the sender's host that the other one's may call and that run; replaces what was said before. */
  | { type: 'serves'; instances: Served[] }
  /** The caller, of the sender's host, wants a channel to the callee, of the other. The number is the sender's choice. */
  | { type: 'channel-open'; channel: number; caller: string; callee: string }
  | { type: 'channel-opened'; channel: number }
  | { type: 'channel-refused'; channel: number; code: ErrorCode; detail: string }
  /** About copies of state shards that the coordinator's records have on both hosts; may be lost with the connection. */
  | { type: 'copies'; messages: CopyEnvelope[] }
  /** From the host with the smaller name: from now on these may come by a channel of the fabric, too. */
  | { type: 'copies-channel'; channel: number }
  /** relay-messages.ts */
  | { type: 'relay'; message: unknown };

const HOST_LENGTH_MAX = 253;
const ID_LENGTH_MAX = 3 * LIMITS.nameLengthMax;
const TEXT_LENGTH_MAX = 1_000;
const INSTANCES_MAX = 10_000;
const UINT32_MAX = 0xffffffff;

/** Throws SHOAL_E_FRAME when it is none. */
export function parseHostMessage(value: unknown): HostMessage {
  if (!isMap(value)) throw wrong('is not a map');
  const { type, version, host, why, instances, channel, caller, callee, code, detail, message, messages } = value;
  switch (type) {
    case 'hello':
      if (isCount(version) && isText(host, HOST_LENGTH_MAX)) return { type, version, host };
      break;
    case 'blob-wanted': {
      const wanted = parseBlobWanted(value);
      if (wanted !== null) return wanted;
      break;
    }
    case 'goodbye':
      if (isText(why, TEXT_LENGTH_MAX)) return { type, why };
      break;
    case 'alive':
      return { type };
    case 'serves':
      if (Array.isArray(instances) && instances.length <= INSTANCES_MAX && instances.every(isServed)) {
        return { type, instances };
      }
      break;
    case 'channel-open':
      if (isChannel(channel) && isText(caller, ID_LENGTH_MAX) && isText(callee, ID_LENGTH_MAX)) {
        return { type, channel, caller, callee };
      }
      break;
    case 'channel-opened':
      if (isChannel(channel)) return { type, channel };
      break;
    case 'channel-refused':
      if (isChannel(channel) && isErrorCode(code) && isText(detail, TEXT_LENGTH_MAX)) {
        return { type, channel, code, detail };
      }
      break;
    case 'copies':
      if (Array.isArray(messages)) return { type, messages: messages.map(parseEnvelope) };
      break;
    case 'copies-channel':
      if (isChannel(channel)) return { type, channel };
      break;
    case 'relay':
      return { type, message };
  }
  throw wrong(`${typeof type === 'string' ? type.slice(0, 40) : 'no type'}: unknown, or of a wrong shape`);
}

function parseEnvelope(value: unknown): CopyEnvelope {
  if (!Array.isArray(value) || value.length !== 2 || !isCopyName(value[0])) throw wrong('copies of no state shard');
  return [value[0], parseCopyMessage(value[1])];
}

/** A text as it fits into a message. */
export function cut(text: string): string {
  return text.slice(0, TEXT_LENGTH_MAX);
}

function isServed(value: unknown): value is Served {
  if (!isMap(value)) return false;
  const { id, weight, shards, frozen, serving } = value;
  const weighs = typeof weight === 'number' && weight > 0 && weight <= 1;
  return isText(id, ID_LENGTH_MAX) && weighs && areShards(shards) && areShards(frozen) && typeof serving === 'boolean';
}

function areShards(value: unknown): value is number[] {
  if (!Array.isArray(value) || value.length > LIMITS.shardCountMax) return false;
  return value.every((shard) => isCount(shard) && shard < LIMITS.shardCountMax);
}

function isChannel(value: unknown): value is number {
  return isCount(value) && value <= UINT32_MAX;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isText(value: unknown, most: number): value is string {
  return typeof value === 'string' && value.length <= most;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `message of another host's agent: ${what}`);
}
