import { type ErrorCode, isErrorCode, ShoalError } from './errors.js';
import { decodeBody, encodeBody } from './frame.js';
import { LIMITS } from './limits.js';
import { NAME_PATTERN } from './manifest-schema.js';

/**
 * Set-up of channels in shared memory (docs/fabric.md), on a Unix socket of type SOCK_SEQPACKET that the agent listens on
 * in each instance. The instance dials, and dials again when the agent restarts; channels that are there go on without
 * it. Each packet is one msgpack map; the descriptors of a channel's side go with `opened` and `offered`, in the order of
 * CHANNEL_FDS.
 */
export const CHANNELS_SOCKET = '/run/shoal/channels';
export const CHANNEL_FDS = 3;
/** With `segment` and `copy`. */
export const SEGMENT_FDS = 1;
/** As native/src/fabric/packet_socket.h has it. */
export const PACKET_BYTES_MAX = 4096;

export type ChannelRequest =
  /** Asks for a channel to an instance that the manifest grants. */
  | { type: 'open'; requestId: number; component: string; instance: string }
  /** The callee's end of the channel with this number is closed. */
  | { type: 'closed'; channel: number };

export type ChannelReply =
  /** With the descriptors of side 0. */
  | { type: 'opened'; requestId: number }
  | { type: 'refused'; requestId: number; code: ErrorCode; detail: string }
  /** To the callee, with the descriptors of side 1. The caller waits for an empty record on it. */
  | { type: 'offered'; channel: number; component: string; instance: string }
  /** With the descriptor of a state shard's segment, for who is told to prepare or own it with this epoch. */
  | { type: 'segment'; shard: number; epoch: number }
  /** With that of the copy of a shard that others own, to be read. `file`: another number is another file. */
  | { type: 'copy'; shard: number; file: number };

/** `<app>-<component>-<n>`. */
const NAME_LENGTH_MAX = 3 * LIMITS.nameLengthMax;
const DETAIL_LENGTH_MAX = 1_000;
const NAME = new RegExp(NAME_PATTERN);

export function encodePacket(packet: ChannelRequest | ChannelReply): Uint8Array {
  return encodeBody(
    packet.type === 'refused' ? { ...packet, detail: packet.detail.slice(0, DETAIL_LENGTH_MAX) } : packet,
  );
}

/** Throws SHOAL_E_FRAME when it is none. */
export function parseChannelRequest(bytes: Uint8Array): ChannelRequest {
  const { type, requestId, component, instance, channel } = mapOf(bytes);
  if (type === 'open' && isCount(requestId) && isName(component) && isName(instance)) {
    return { type, requestId, component, instance };
  }
  if (type === 'closed' && isCount(channel)) return { type, channel };
  throw new ShoalError('SHOAL_E_FRAME', 'packet of an instance: is neither open nor closed');
}

/** Throws SHOAL_E_FRAME when it is none. */
export function parseChannelReply(bytes: Uint8Array): ChannelReply {
  const { type, requestId, code, detail, channel, component, instance, shard, epoch, file } = mapOf(bytes);
  if (type === 'opened' && isCount(requestId)) return { type, requestId };
  if (type === 'refused' && isCount(requestId) && isErrorCode(code) && typeof detail === 'string') {
    return { type, requestId, code, detail };
  }
  if (type === 'offered' && isCount(channel) && isName(component) && isName(instance)) {
    return { type, channel, component, instance };
  }
  if (type === 'segment' && isCount(shard) && shard < LIMITS.shardCountMax && isCount(epoch)) {
    return { type, shard, epoch };
  }
  if (type === 'copy' && isCount(shard) && shard < LIMITS.shardCountMax && isCount(file)) return { type, shard, file };
  throw new ShoalError('SHOAL_E_FRAME', 'packet of the agent: is neither opened, refused, offered, segment nor copy');
}

function mapOf(bytes: Uint8Array): Record<string, unknown> {
  const value = decodeBody(bytes);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ShoalError('SHOAL_E_FRAME', 'packet: is not a map');
}
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_LENGTH_MAX && NAME.test(value);
}
