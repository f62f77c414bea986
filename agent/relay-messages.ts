import { isIP } from 'node:net';
import type { VerbsParameters } from '../native/index.js';
import { ShoalError } from '../protocol/errors.js';
import type { RdmaAbility } from './choose-carrier.js';

/**
 * What the agents of two hosts tell each other, over a link of their own that says who speaks, so that their relays can
 * connect. The host with the smaller name leads: it asks, the other answers. A session is one connection of the relays
 * with all its state; who does not know it any more says so, and it ends.
 */
export type RelayMessage =
  /** To the leader: please connect; `lost`: the carrier is down here. */
  | { type: 'relay-wanted'; lost: boolean }
  /** To the leader: this has changed. */
  | { type: 'relay-rdma'; rdma: RdmaAbility }
  /** From the leader. `resumes`: the session has been connected before. `plain`: nothing need be encrypted. */
  | { type: 'relay-ask'; session: string; attempt: number; resumes: boolean; plain: boolean; rdma: RdmaAbility }
  /**
   * Where to dial within 10 s, what to show there and what will be shown: 32 random bytes each, in hexadecimal. So are the
   * secrets by which the leader seals what it sends, and the other end; null: nothing is encrypted, which both want.
   */
  | {
      type: 'relay-answer';
      session: string;
      attempt: number;
      rdma: RdmaAbility;
      address: string;
      port: number;
      show: string;
      shown: string;
      secrets: { leaders: string; others: string } | null;
    }
  /** From the leader, then back: the queues that were prepared. */
  | { type: 'relay-verbs'; session: string; attempt: number; verbs: VerbsParameters }
  /** `unknown`: the session is not known here (any more). */
  | { type: 'relay-refused'; session: string; attempt: number; unknown: boolean; detail: string };

const HEX_64 = /^[0-9a-f]{64}$/;
const SESSION = /^[0-9a-f]{32}$/;
const DECIMAL = /^[0-9]{1,20}$/;
const TEXT_LENGTH_MAX = 500;
const QP_NUMBER_MAX = 0xffffff;
const UINT32_MAX = 0xffffffff;
const UINT64_MAX = 2n ** 64n - 1n;
const MTU_MAX = 5;

/** Throws SHOAL_E_FRAME, naming what is wrong. */
export function parseRelayMessage(value: unknown): RelayMessage {
  const from = new Fields(value);
  const type = from.text('type');
  if (type === 'relay-wanted') return { type, lost: from.flag('lost') };
  if (type === 'relay-rdma') return { type, rdma: ability(from.inner('rdma')) };
  const head = { session: from.matching('session', SESSION), attempt: from.integer('attempt', 1) };
  switch (type) {
    case 'relay-ask':
      return {
        type,
        ...head,
        resumes: from.flag('resumes'),
        plain: from.flag('plain'),
        rdma: ability(from.inner('rdma')),
      };
    case 'relay-answer':
      return {
        type,
        ...head,
        rdma: ability(from.inner('rdma')),
        address: from.address('address'),
        port: from.integer('port', 1, 65_535),
        show: from.matching('show', HEX_64),
        shown: from.matching('shown', HEX_64),
        secrets: from.isNull('secrets') ? null : secrets(from.inner('secrets')),
      };
    case 'relay-verbs':
      return { type, ...head, verbs: verbs(from.inner('verbs')) };
    case 'relay-refused':
      return { type, ...head, unknown: from.flag('unknown'), detail: from.text('detail') };
    default:
      throw wrong('type', `unknown: ${type}`);
  }
}

function ability(from: Fields): RdmaAbility {
  return { address: from.has('address') ? from.address('address') : null, reason: from.text('reason') };
}

function secrets(from: Fields): { leaders: string; others: string } {
  return { leaders: from.matching('leaders', HEX_64), others: from.matching('others', HEX_64) };
}

function verbs(from: Fields): VerbsParameters {
  const address = from.matching('address', DECIMAL);
  if (BigInt(address) > UINT64_MAX) throw wrong('address', 'more than 64 bits');
  return {
    gid: from.address('gid'),
    qpNumber: from.integer('qpNumber', 0, QP_NUMBER_MAX),
    psn: from.integer('psn', 0, QP_NUMBER_MAX),
    mtu: from.integer('mtu', 1, MTU_MAX),
    remoteKey: from.integer('remoteKey', 0, UINT32_MAX),
    address,
    streamBytes: from.integer('streamBytes', 1),
  };
}

function wrong(field: string, why: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `message of another host's agent: ${field}: ${why}`);
}

/** Reads fields of a map that may hold anything. */
class Fields {
  readonly #map: Record<string, unknown>;

  constructor(value: unknown) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('it', 'is not a map');
    this.#map = value as Record<string, unknown>;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#map, name) && this.#map[name] !== null;
  }

  isNull(name: string): boolean {
    return this.#map[name] === null;
  }

  text(name: string): string {
    const value = this.#map[name];
    if (typeof value !== 'string' || value.length > TEXT_LENGTH_MAX) throw wrong(name, 'is no text, or too long');
    return value;
  }

  matching(name: string, pattern: RegExp): string {
    const value = this.text(name);
    if (!pattern.test(value)) throw wrong(name, 'has not its form');
    return value;
  }

  address(name: string): string {
    const value = this.text(name);
    if (isIP(value) === 0) throw wrong(name, 'is no IP address');
    return value;
  }

  integer(name: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.#map[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw wrong(name, `is no integer from ${least} to ${most}`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#map[name];
    if (typeof value !== 'boolean') throw wrong(name, 'is neither true nor false');
    return value;
  }

  inner(name: string): Fields {
    return new Fields(this.#map[name]);
  }
}
